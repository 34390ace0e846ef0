"""What is said of layers: each finding where it holds, by samples that are moved or changed, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from convcli.geometry.grammar import parse_layers, parse_size
from convcli.geometry.graph import Shape, chain, follow, lint
from convcli.networks.parse import load_net
from tests.shell import SAMPLES, convcli, ok


def said(size: str, *layers: str) -> list[str]:
    channels, sizes = parse_size(size)
    return lint(follow(chain(parse_layers(layers)), Shape(channels or 1, sizes)), shifts=True)


FOUND: dict[str, tuple[str, Sequence[str], str]] = {
    "checkerboard": (
        "8",
        ["tconv:5,s=3"],
        "kernel 5 is no multiple of stride 3, so that along an axis outputs sum up 1 or 2 taps",
    ),
    "a kernel in holes": (
        "8",
        ["tconv:2,s=3"],
        "along an axis outputs sum up 0 or 1 tap in turn (a checkerboard): take kernel 3",
    ),
    "even kernel, after": ("8x9", ["conv:4,same"], "lie half an element after the inputs"),
    "even kernel, before": ("8", ["conv:4,p=2:1"], "lie half an element before the inputs"),
    "an unread end": ("9", ["conv:4,s=2"], "no window reaches the last 1 of 9: pad the end by 1, or take 8"),
    "a stride over elements": ("9", ["conv:1,s=3"], "stride 3 passes over 2 of 3 elements"),
    "aliasing": ("9", ["pool:avg:3,s=2"], "stride 2 behind a window of 3 folds fine detail"),
    "dead padding": ("10", ["conv:5,s=2,p=2"], "no window reaches 1 of the padding 2 at the end: 2:1"),
    "nothing but padding": ("10", ["conv:3,p=3"], "padding 3 is not less than the kernel's extent 3"),
}


@pytest.mark.parametrize("name", FOUND)
def test_each_finding_stands_alone(name: str) -> None:
    size, layers, text = FOUND[name]
    (line,) = said(size, *layers)
    assert text in line
    assert line.startswith("layer 1 (")


@pytest.mark.parametrize(
    ("size", "layers"),
    [
        ("8x8", ["conv:3,p=1", "conv:5,same"]),
        ("8", ["tconv:4,s=2,p=1", "tconv:3,p=1", "tconv:2,s=2"]),
        ("9", ["conv:5,s=2,p=2", "gpool:max"]),
        ("9", ["conv:9,s=9", "conv:1"]),
        ("10", ["conv:4,s=2,p=1"]),
    ],
)
def test_what_is_well_made_is_not_spoken_of(size: str, layers: Sequence[str]) -> None:
    assert said(size, *layers) == []


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("stride", [2, 3])
def test_a_checkerboard_is_there_where_it_is_announced(kernel: int, stride: int) -> None:
    """Ones laid down over ones: the inner outputs differ just where the kernel is no multiple of the stride."""
    out = F.conv_transpose1d(torch.ones(1, 1, 12), torch.ones(1, 1, kernel), stride=stride)[0, 0]
    uneven = len(out[kernel:-kernel].unique()) > 1
    assert uneven is any("checkerboard" in line for line in said("12", f"tconv:{kernel},s={stride}"))


@pytest.mark.parametrize("n", range(7, 13))
@pytest.mark.parametrize("layer", ["conv:5,s=3", "conv:4,s=2,p=1", "conv:5,s=2,p=2", "conv:7,s=3,p=1:3"])
def test_what_no_window_reaches_changes_nothing(n: int, layer: str) -> None:
    conv = parse_layers([layer])[0]
    (window,) = conv.windows((n,))
    x = torch.rand(1, 1, n + window.before + window.after).requires_grad_()
    F.conv1d(x, torch.ones(1, 1, window.kernel), stride=window.stride).sum().backward()
    assert x.grad is not None
    unread = int((x.grad[0, 0] == 0).sum())
    lines = " ".join(said(str(n), layer))
    padding, data = min(unread, window.after), max(unread - window.after, 0)
    assert (f"reaches {padding} of the padding" in lines) is (padding > 0)
    assert (f"reaches the last {data} of {n}" in lines) is (data > 0)


def test_branches_that_lie_apart_and_outputs_that_nobody_takes(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text(
        "layers:\n- conv: {name: a, size: 3, padding: [0:2]}\n- conv: {name: b, size: 3, padding: 1, from: input}\n"
        "- relu: {name: lost, from: a}\n- add: {from: [a, b]}\n"
    )
    lines = lint(load_net(tmp_path / "n.yaml").trace(Shape(1, (9,))))
    assert lines == [
        "layer 3 (lost): no layer takes its output: leave it out, or name it in a from:",
        "layer 4 (add1): its inputs lie apart, their first elements at a 1, b 0 of the net's input: pad them so that "
        "they agree",
    ]


def test_shape_and_check_say_it(tmp_path: Path) -> None:
    done = convcli("shape", "8", "tconv:3,s=2,p=1,op=1")
    assert done.returncode == 0
    assert done.stderr.startswith(
        b"note: layer 1 (tconv:3,s=2,p=1,op=1): kernel 3 is no multiple of stride 2"
    )
    assert ok("shape", "8", "tconv:3,s=2,p=1,op=1", "-q").stderr == b""
    done = convcli("net", "check", SAMPLES / "sobel-pool.yaml", SAMPLES / "house.png")
    assert b"layers 2 (pool1), 3 (pool2): stride 2 behind a window of 2 folds" in done.stderr


def test_aliasing_is_spoken_of_where_shifts_are_the_subject() -> None:
    steps = follow(chain(parse_layers(["conv:5", "pool:max:2", "conv:3,s=2,p=1"])), Shape(1, (28,)))
    assert [line for line in lint(steps) if "aliasing" in line] == []
    line, _ = [line for line in lint(steps, shifts=True) if "aliasing" in line]
    assert line.startswith("layer 2 (pool:max:2): stride 2 behind a window of 2")
