"""Kernel files in YAML: what the loader reads and refuses, and that the schema says the same."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from convcli.common.errors import ConvError, UsageError
from convcli.geometry.padding import PaddingName, PadMode
from convcli.kernel import Combine, Defaults, Kernel, library, load_kernel
from convcli.kernel.yaml_document import MAX_DEPTH, parse_document
from convcli.kernel.yaml_file import KEYS
from convcli.pixels.ranges import POLICIES, Abs, parse_range

SCHEMA = json.loads((library.library_dir() / library.SCHEMA).read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def one_line(caught: pytest.ExceptionInfo[ConvError], *parts: str, exit_code: int = 2) -> None:
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert "\n" not in message
    assert len(message) < 300
    assert caught.value.exit_code == exit_code


def yaml_kernel(folder: Path, text: str | bytes, rank: int = 2) -> Kernel:
    path = folder / "own.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_kernel(str(path), rank)


def test_yaml_with_everything(tmp_path: Path) -> None:
    kernel = yaml_kernel(
        tmp_path,
        """
        name: pair
        description: "two: of them"
        rank: 2
        weights: [[[1, 2, 3]], [["1/3", -0.5, 1e-3]]]
        scale: 1/7
        bias: [1, -2]
        origin: [0, 2]
        combine: magnitude
        range: 0%:400%
        stride: 2
        padding: [same, "1:0"]
        pad_mode: reflect
        dilation: [1, 2]
        flip: true
        pool: max:2
        axis: tx
        source: nowhere
        """,
    )
    assert kernel == Kernel(
        "pair",
        (2, 1, 1, 3),
        (1 / 7, 2 / 7, 3 / 7, 1 / 21, -1 / 14, 1 / 7000),
        bias=(1, -2),
        origin=(0, 2),
        combine=Combine.MAGNITUDE,
        display=parse_range("0%:400%"),
        description="two: of them",
        source="nowhere",
        defaults=Defaults(
            stride=(2, 2),
            padding=(PaddingName.SAME, (1, 0)),
            pad_mode=PadMode.REFLECT,
            dilation=(1, 2),
            flip=True,
            pool="max:2",
            axis="tx",
        ),
        slug="own",
    )


def test_yaml_with_little(tmp_path: Path) -> None:
    kernel = yaml_kernel(tmp_path, "weights: [1, 2]")
    assert kernel == Kernel("own", (1, 1, 2), (1.0, 2.0))
    assert kernel.defaults == Defaults()
    assert kernel.display is None


@pytest.mark.parametrize(
    ("weights", "rank", "shape"),
    [
        ("[1, 2]", None, (1, 1, 2)),
        ("[[1, 2]]", None, (1, 1, 1, 2)),
        ("[[1, 2], [3, 4], [5, 6]]", 1, (3, 1, 2)),
        ("[[[1, 2]], [[3, 4]]]", 1, (2, 1, 2)),
        ("[[[1, 2]], [[3, 4]]]", None, (1, 1, 2, 1, 2)),
        ("[[[1, 2]], [[3, 4]]]", 2, (2, 1, 1, 2)),
        ("[[[[1, 2]], [[3, 4]]]]", None, (1, 2, 1, 2)),
        ("[[[[1, 2]], [[3, 4]]]]", 3, (1, 1, 2, 1, 2)),
        ("[[[[[1, 2]], [[3, 4]]]]]", None, (1, 1, 2, 1, 2)),
    ],
)
def test_yaml_depths(tmp_path: Path, weights: str, rank: int | None, shape: tuple[int, ...]) -> None:
    line = f"\nrank: {rank}" if rank else ""
    assert yaml_kernel(tmp_path, f"weights: {weights}{line}").shape == shape


def test_scale_multiplies_exactly(tmp_path: Path) -> None:
    assert yaml_kernel(tmp_path, "weights: [3, 7]\nscale: 1/49").weights == (3 / 49, 1 / 7)
    assert yaml_kernel(tmp_path, "weights: [0.1]\nscale: 3").weights == (0.3,)  # 3 * 0.1 in floats is not


def test_one_bias_serves_all_outputs(tmp_path: Path) -> None:
    assert yaml_kernel(tmp_path, "rank: 1\nweights: [[1], [2]]\nbias: 1/2").bias == (0.5, 0.5)


def test_parametric_yaml(tmp_path: Path) -> None:
    text = "parametric: box:3\nscale: 2\nrange: abs"
    assert yaml_kernel(tmp_path, text, rank=1).weights == (2 / 3,) * 3
    kernel = yaml_kernel(tmp_path, text + "\nrank: 3", rank=1)
    assert kernel.size == (3, 3, 3)
    assert kernel.display_policy == Abs()


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    assert yaml_kernel(tmp_path, b"\xef\xbb\xbfname: a\r\nweights:\r\n- 1\r\n- 2\r\n").weights == (1, 2)


BOMB = "a: &a [1, 1, 1, 1]\nb: &b [*a, *a, *a, *a]\nweights: [*b, *b, *b, *b]"

BAD_YAML = [  # the schema refuses these as well, or no parser reads them
    ("", ("needs keys such as weights",)),
    ("- 1", ("needs keys such as weights",)),
    ("weights: [1", ("line ", "not valid YAML")),
    ("weights: [1]\n\tname: x", ("line 2", "not valid YAML")),
    ("weights: [1]\nname: a\x07b", ("not valid YAML",)),
    ("weights: [1]\n---\nweights: [2]", ("line 2", "second document")),
    (BOMB, ("line 1", "anchors and aliases")),
    ("<<: {weights: [1]}", ("line 1", "merge keys")),
    ("weights: " + "[" * 17 + "]" * 17, ("line 1", "nested more than 16 deep")),
    ("? [a]\n: 1", ("a key must be a word",)),
    ("name: x", ("one of weights: and parametric:",)),
    ("weights: [1]\nparametric: box", ("one of weights: and parametric:", "not both")),
    ("weigths: [1]", ("'weigths' is unknown", "did you mean weights?")),
    ("weights: [1]\nzzz: 1", ("'zzz' is unknown", "known are name")),
    ("weights:", ("weights: a list of numbers is needed",)),
    ("weights: []", ("weights: an empty list",)),
    ("weights: [[]]", ("weights: an empty list",)),
    ("weights: [[1, 2], []]", ("row 2 has 0 entries, the first has 2",)),
    ("weights: [[1, 2], 3]", ("row 2 is '3'", "a list of 2")),
    ("weights: [1, [2]]", ("entry 2", "one value is needed, not a list")),
    ("weights: [1, {a: 2}]", ("entry 2", "not a mapping")),
    ("weights: {a: 1}", ("a list of numbers is needed",)),
    ("weights: [1, x]", ("entry 2", "'x' is not a number")),
    ("weights: [[1, no]]", ("entry 1.2", "'no' is not a number")),
    ("weights: [1:30]", ("'1:30' is not a number",)),
    ("weights: [.nan]", ("'.nan' is not a number",)),
    ("weights: [.inf]", ("'.inf' is not a number",)),
    ("weights: [[[[[[1]]]]]]", ("weights 6 deep do not make a kernel",)),
    ("weights: 1,0,-1", ("a list of numbers is needed",)),
    ("parametric: bx:3", ("parametric: 'bx:3' is unknown", "box")),
    ("weights: [1]\nrank: 4", ("rank: '4' is not possible",)),
    ("weights: [1]\nname: a/b", ("name: 'a/b' is not possible",)),
    ("weights: [1]\nname:", ("name: ''",)),
    ("weights: [1]\nscale: big", ("scale: ", "'big' is not a number")),
    ("weights: [1]\nscale: [1]", ("scale: one value is needed, not a list",)),
    ("weights: [1]\nbias: nan", ("'nan' is not a number",)),
    ("weights: [1, 2]\norigin: -1", ("origin: ", "-1")),
    ("weights: [1, 2]\norigin: centre", ("origin: ", "'centre'")),
    ("weights: [1]\ncombine: mean", ("combine: the value 'mean' is unknown", "magnitude")),
    ("weights: [1]\nrange: clp", ("range: ", "did you mean clip")),
    ("weights: [1]\nstride: 0", ("stride: ", "0 is not possible")),
    ("weights: [1]\nstride: x", ("stride: ", "'x'")),
    ("weights: [1]\ndilation: -1", ("dilation: ", "-1")),
    ("weights: [1]\npadding: -1", ("padding: ", "-1")),
    ("weights: [1]\npadding: wide", ("padding: ", "'wide' is unknown", "same")),
    ("weights: [1]\npad_mode: mirror", ("pad_mode: ", "'mirror' is unknown", "reflect")),
    ("weights: [1]\nflip: yes", ("flip: 'yes'", "true or false")),
    ("weights: [1]\ndescription: [a]", ("description: one value is needed",)),
]

BAD_YAML_BEYOND_A_SCHEMA = [
    ("weights: [1]\nweights: [2]", ("line 2", "'weights' appears twice")),
    ("weights: &w [1]", ("line 1", "anchors and aliases")),
    ("weights: !!python/object:os.system [1]", ("tags such as", "not used")),
    ("weights: " + "[" * 100_000, ("line 1", "nested more than 16 deep")),
    ("weights: [[1, 2, 3], [4, 5]]", ("weights: row 2 has 2 entries, the first has 3",)),
    ("weights: [[[1, 2]], [[3, 4], [5, 6]]]", ("row 2 has 2 entries, the first has 1",)),
    ("weights: [[[1, 2], [3]]]", ("row 1.2 has 1 entries, the first has 2",)),
    ("weights: [1/0]", ("'1/0' divides by zero",)),
    ("weights: [1e999]", ("beyond what a float holds",)),
    ("weights: [1]\nrank: 2", ("weights 1 deep do not make a kernel of rank 2",)),
    ("weights: [[[[1]]]]\nrank: 1", ("weights 4 deep do not make a kernel of rank 1",)),
    ("parametric: box:0", ("parametric: ", "size 0")),
    ("parametric: box:3x3\nrank: 1", ("is of rank 2, and rank: says 1",)),
    ("weights: [1]\nrank: 1.0", ("rank: '1.0'",)),
    ("weights: [1e200]\nscale: 1e200", ("beyond what a float holds",)),
    ("weights: [1]\nbias: [1, 2]", ("2 biases for 1 outputs",)),
    ("weights: [1, 2]\norigin: 2", ("origin 2 lies outside an axis of 2",)),
    ("weights: [1, 2]\norigin: [0, 0]", ("origin: ", "2 values for 1 axis")),
    ("weights: [1]\nrange: offset:0", ("range: ", "above 0")),
    ("weights: [1]\nrange: percentile:9:1", ("range: ", "LO must be below HI")),
    ("weights: [1]\nstride: [1, 2]", ("stride: ", "2 values for 1 axis")),
]


@pytest.mark.parametrize(
    ("text", "parts"),
    [pytest.param(*row, id=row[0][:40]) for row in BAD_YAML + BAD_YAML_BEYOND_A_SCHEMA],
)
def test_yaml_faults(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        yaml_kernel(tmp_path, text)
    one_line(caught, "own.yaml", *parts)


def test_yaml_that_is_too_large_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        yaml_kernel(tmp_path, "weights: [" + "1, " * 400_000 + "1]")
    one_line(caught, "own.yaml", "larger than 1 MiB", ".npy")
    with pytest.raises(UsageError) as caught:
        yaml_kernel(tmp_path, b"\x93NUMPY\x00\xff\xfe")
    one_line(caught, "own.yaml", "UTF-8")


def test_deep_nesting_within_the_limit_is_read() -> None:
    assert parse_document("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_every_known_key_is_read(tmp_path: Path) -> None:
    """A key that is known but forgotten by the reader would pass in silence."""
    for key in set(KEYS) - {"weights", "parametric", "description", "source", "pool"}:
        with pytest.raises(UsageError, match=f"{key}: "):
            yaml_kernel(tmp_path, f"weights: [1]\n{key}: '?'")


# The schema


def schema_knows(text: str) -> bool:
    """Some faults are beyond any schema: uneven lists, numbers that depend on each other, YAML's own."""
    try:
        document = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return True
    if not isinstance(document, dict):
        return True
    return not VALIDATOR.is_valid(json.loads(json.dumps(document), object_hook=with_numbers))


def with_numbers(document: dict) -> dict:
    """Read the scalars as YAML 1.2 does, which is what editors validate."""

    def read(value):
        if isinstance(value, list):
            return [read(item) for item in value]
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            return value or None

    return {key: read(value) for key, value in document.items()}


@pytest.mark.parametrize("text", [text for text, _ in BAD_YAML])
def test_the_schema_refuses_what_the_loader_refuses(text: str) -> None:
    assert schema_knows(text)


@pytest.mark.parametrize("text", [text for text, _ in BAD_YAML_BEYOND_A_SCHEMA if len(text) < 1000])
def test_what_no_schema_can_say(text: str) -> None:
    """Uneven lists, numbers that depend on each other, and YAML's own tricks; a row that it can say moves up."""
    assert not schema_knows(text)


@pytest.mark.parametrize(
    "lines",
    [
        "weights: [1, 1/3, -.5e-3]",
        "weights: own.npz#conv1.weight",
        "parametric: gaussian:sigma=2x1",
        "weights: [1]\nrange: -1.5:2e3",
        "weights: [1]\nrange: offset:1/2",
        *(f"weights: [1]\nrange: {policy.example}" for policy in POLICIES),
        "weights: [1]\npadding: 2x1:0",
        "weights: [1]\npadding: [same, 1]",
        "weights: [1]\nstride: [2]\ndilation: 3\norigin: 0",
        "weights: [1]\nbias: [1/3]\npool: global-max\nflip: true\npad_mode: circular",
    ],
)
def test_the_schema_accepts_what_is_right(lines: str) -> None:
    assert not schema_knows(lines)
