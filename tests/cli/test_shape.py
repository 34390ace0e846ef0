"""``convcli shape`` from the shell's side: what it prints, what it refuses, what it imports."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from convcli.cli.shape import Request
from convcli.cli.shared.command import command
from convcli.common.errors import UsageError
from convcli.geometry.pools import POOLS

app = typer.Typer(rich_markup_mode=None, add_completion=False)
app.command()(command(Request))


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    with pytest.raises(UsageError) as error:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    return str(error.value)


def test_the_table_ends_in_the_size():
    text = printed("3@32x32", "conv:6@5x5")
    header, _, row, size = text.splitlines()
    assert header.split() == ["layer", "output", "field", "jump", "start", "params", "mult-adds", "unused"]
    assert row.split() == ["conv:6@5x5", "6@28x28", "5", "1", "2", "456", "352800", "0"]
    assert size == "6@28x28"


def test_the_table_of_a_chain():
    text = printed("3@224x224", "conv:64@7,s=2,p=3", "pool:max:3,s=2,p=1", "conv:128@3x3,s=2,p=1")
    assert text == (
        "layer                 output      field  jump  start  params  mult-adds  unused\n"
        "input                 3@224x224       1     1      0\n"
        "conv:64@7,s=2,p=3     64@112x112      7     2      0    9472  118013952       0\n"
        "pool:max:3,s=2,p=1    64@56x56       11     4      0       0          0       0\n"
        "conv:128@3x3,s=2,p=1  128@28x28      19     8      0   73856   57802752       0\n"
        "total                                                  83328  175816704\n"
        "128@28x28\n"
    )
    assert max(map(len, text.splitlines())) <= 80


def test_axes_that_differ_are_written_apart():
    row = printed("5x30", "conv:3x5,s=3x2,p=0x1").splitlines()[2]
    assert row.split() == ["conv:3x5,s=3x2,p=0x1", "1x14", "3x5", "3x2", "1", "16", "210", "2x0"]


def test_fractions_of_a_transposed_chain():
    row = printed("8", "tconv:4,s=2,p=1").splitlines()[2]
    assert row.split()[1:5] == ["16", "2", "0.5", "-0.25"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["3@32x32", "conv:6@5x5"], "6@28x28"),
        (["32x32", "conv:5"], "28x28"),
        (["7", "--kernel-size", "3"], "5"),
        (["3", "--kernel-size", "3", "--transpose"], "5"),
        (["32x32", "--kernel-size", "5", "--stride", "2", "--padding", "2", "--dilation", "1"], "16x16"),
        (["32x30", "--kernel-size", "5,3", "--stride", "2x1", "--padding", "1:0,same"], "15x30"),
        (["3@32x32", "--kernel-size", "6@5x5"], "6@28x28"),
        (
            [
                "4",
                "--kernel-size",
                "3",
                "--stride",
                "2",
                "--padding",
                "1",
                "--transpose",
                "--output-padding",
                "1",
            ],
            "8",
        ),
        (["7", "--pool", "max:3"], "2"),
        (["8", "--pool", "max:3,ceil", "--stride", "2"], "4"),
        (["9", "--kernel-size", "3", "--dilation", "4"], "1"),
    ],
)
def test_quiet_prints_the_size_alone(arguments, expected):
    assert printed(*arguments, "-q") == expected + "\n"


def test_json():
    data = json.loads(printed("5@8x8", "tconv:2@4,s=2,p=1", "conv:3,s=1x3", "--json"))
    assert (data["input"], data["output"]) == ("5@8x8", "1@14x5")
    assert data["parameters"] == 5 * 2 * 16 + 2 + 2 * 9 + 1
    assert data["multiply_adds"] == 5 * 2 * 16 * 64 + 2 * 9 * 14 * 5
    first, second = data["layers"]
    assert first["jump"] == [0.5, 0.5] and first["start"] == [-0.25, -0.25]
    assert second == {
        "layer": "conv:3,s=1x3",
        "output": "1@14x5",
        "channels": 1,
        "sizes": [14, 5],
        "field": [3, 3],
        "jump": [0.5, 1.5],
        "start": [0.25, 0.25],
        "parameters": 19,
        "multiply_adds": 1260,
        "unused": [0, 1],
        "sources": [],
    }
    assert json.loads(printed("8", "conv:3", "--json"))["layers"][0]["channels"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["7"], "no layers: write some, such as conv:6@5x5 pool:max:2, or one as --kernel-size 5"),
        (
            ["7", "conv:3", "--kernel-size", "3"],
            "layers (conv:3) and --kernel-size or --pool cannot be combined",
        ),
        (["7", "conv:3", "--stride", "2"], "--stride needs --kernel-size; in a layer it is written inside"),
        (["7", "--transpose"], "--transpose needs --kernel-size"),
        (["7", "--kernel-size", "3", "--output-padding", "1"], "--output-padding needs --transpose"),
        (["7", "--kernel-size", "3", "--pool", "max:2"], "--kernel-size and --pool cannot be combined"),
        (["7", "--pool", "max:3", "--transpose"], "--transpose and --pool cannot be combined"),
        (["7", "--pool", "sum:3"], "pool 'sum:3' is unknown"),
        (["7", "--kernel-size", "3", "--stride", "0"], "layer 1 (conv:3,s=0): stride 0 is not possible"),
        (["7", "--kernel-size", "3", "--padding", "-1"], "layer 1 (conv:3,p=-1): padding -1 is not possible"),
        (["7", "--kernel-size", "3", "--padding", ""], "layer 1 (conv:3,p=): padding '' is unknown"),
        (
            ["7", "conv:3", "conv:9"],
            "layer 2 (conv:9): kernel 9 is larger than the input 5 with padding 0:0: 4",
        ),
        (["axb", "conv:3"], "size 'axb' is not a number"),
    ],
)
def test_refusals(arguments, message):
    assert refused(*arguments).startswith(message)


def test_help_keeps_its_examples_on_their_lines():
    text = printed("--help")
    assert "\n    convcli shape 3@32x32 conv:6@5x5 pool:max:2 conv:16@5x5 pool:max:2\n" in text
    assert "\n    gpool:KIND                                 pool over everything\n" in text
    assert f"a pool ({', '.join(map(str, POOLS))}): max:2" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_imports_neither_arrays_nor_rich():
    script = (
        "import sys\n"
        "from convcli.cli.program import run\n"
        "run(['shape', '3@32x32', 'conv:6@5x5', '-q'])\n"
        "print(sorted({'numpy', 'torch', 'rich', 'yaml'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "6@28x28\n[]\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [("m.keras", "in Keras"), ("m.h5", "in Keras"), ("m.pt2", "in torch"), ("m.pth", "torch.onnx.export")],
)
def test_models_of_other_programs_say_how_they_become_onnx(name: str, said: str) -> None:
    for size in ((), ("3@8x8",)):
        message = refused(name, *size)
        assert said in message
        assert "m.onnx" in message
