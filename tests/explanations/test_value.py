"""One value explained, and the window moving: every number is the one that ``filter`` computes."""

from __future__ import annotations

import contextlib
import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import convcli as api
from convcli.cli.program import run
from convcli.cli.shared.kernels import read_kernel
from convcli.cli.shared.opened import numbered
from convcli.common import UsageError
from convcli.execution.pipeline import reference
from convcli.explanations.film import Frame, close_up, grow, lay_down, slide
from convcli.explanations.film_drawing import Painter
from convcli.explanations.value import ConvExplanation, explain_conv, explain_pool
from convcli.geometry.grammar import parse_pool, parse_size
from convcli.geometry.padding import PadMode, parse_padding
from convcli.geometry.pools import MEDIAN
from convcli.jobs.bind import Settings, bind
from convcli.kernel import Kernel, load_kernel
from tests import pad_modes
from tests.shell import SAMPLES, convcli, ok


def facts(*arguments: object) -> dict[str, Any]:
    """Run the command in this process: a process of its own for each would take a minute."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert run(["explain", *map(str, arguments), "--json"]) == 0
    return json.loads(printed.getvalue())


def frames_of(size: str, kernel: str | None, pool: str | None = None, **options: object) -> list[Frame]:
    whole = numbered(*parse_size(size))
    kernels = [read_kernel(kernel, min(len(whole.letters), 2), numbers=True)] if kernel else []
    if "padding" in options:
        options["padding"] = parse_padding(str(options["padding"]))
    how = Settings(pool=parse_pool(pool) if pool else None, **options)
    chain = bind(kernels, how, whole.letters, whole.shape.sizes, 1)
    results = reference(chain, whole.whole(), "float64")[0, 0]
    move = lay_down if how.transposed else slide
    return list(move(chain.stages[0], whole.whole()[0], results))


# One value

KERNELS = ["sobel-x", "1,2,3;4,5,6", "gaussian:sigma=1", "kirsch", "sobel", "emboss"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--padding", "2", "--stride", "2"),
        ("--padding", "1:2,0:1", "--pad-mode", "reflect", "--dilation", "2"),
        ("--padding", "full", "--pad-value", "7", "--flip", "--bias", "1.5"),
        ("--padding", "full", "--pad-mode", "antireflect"),
    ],
    ids=" ".join,
)
def test_the_sum_is_what_filter_computes(tmp_path, kernel, options):
    command = ["filter", str(SAMPLES / "house.png"), "-k", kernel, *options, "-q", "-o"]
    assert run([*command, str(tmp_path / "out.npy")]) == 0
    result = np.load(tmp_path / "out.npy")
    result = result[None] if result.ndim == 3 else result  # maps first
    for at in ((0, 0), (3, 5), (result.shape[1] - 1, result.shape[2] - 1)):
        found = facts(SAMPLES / "house.png", "-k", kernel, *options, "--at", f"{at[0]},{at[1]}")
        expected = result[:, at[0], at[1]].ravel()
        assert found["values"] == pytest.approx(expected.tolist(), rel=1e-6)
        if found["combine"] == "none":
            assert [one["total"] for one in found["sums"]] == pytest.approx(expected, rel=1e-4, abs=1e-3)
        for one in found["sums"]:
            added = [sum(tap["product"] for tap in plane["taps"]) for plane in one["channels"]]
            assert added == pytest.approx([plane["sum"] for plane in one["channels"]], abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_taps_products_and_sums_of_any_kernel(data):
    rank = data.draw(st.integers(1, 3))
    sizes = tuple(data.draw(st.lists(st.integers(2, 5), min_size=rank, max_size=rank)))
    kernel = tuple(data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank)))
    transposed = data.draw(st.booleans())
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    options = {"stride": (data.draw(st.integers(1, 3)),), "dilation": (data.draw(st.integers(1, 2)),)}
    if not transposed:
        options |= {"padding": ((4, 5),), "pad_mode": data.draw(st.sampled_from(list(PadMode)))}
    weights, x = random.normal(size=(2, 3, *kernel)), random.normal(size=(3, *sizes))
    bank = Kernel("bank", weights.shape, tuple(weights.ravel().tolist()), bias=(0.5, -2.0))
    chain = bind([bank], Settings(transposed=transposed, **options), "ZYX"[-rank:], sizes, 3)
    results = reference(chain, x, "float64")
    at = tuple(data.draw(st.integers(0, size - 1)) for size in chain.output)
    found = explain_conv(chain.stages[0], x, at, results[(slice(None), 0, *at)].tolist())
    assert [one.total for one in found.sums] == pytest.approx(found.values, abs=1e-12)
    assert [one.bias for one in found.sums] == [0.5, -2.0]
    assert all(len(one.channels) == 3 for one in found.sums)


def test_padding_taps_are_named_with_what_stands_there():
    taps = facts("--input", "5x5", "-k", "3x3", "--at", "0,2")["sums"][0]["channels"][0]["taps"]
    assert taps[0] == {
        "tap": [0, 0],
        "position": [-1, 1],
        "source": [0, 1],
        "sources": [[[0, 1], 1]],
        "padding": True,
        "value": 2.0,
        "weight": 1.0,
        "product": 2.0,
    }
    assert [tap["padding"] for tap in taps] == [True] * 3 + [False] * 6
    zeros = facts("--input", "5x5", "-k", "3x3", "--at", "0,2", "--padding", "1")
    assert [tap["source"] for tap in zeros["sums"][0]["channels"][0]["taps"][:3]] == [None] * 3


def test_the_table_and_the_small_picture():
    text = ok("explain", "--input", "5x5", "-k", "3x3", "--at", "0,1", "--padding", "1").stdout.decode()
    assert text == (
        "tap y,x  input y,x  value  weight  product\n"
        "0,0      -1,0           0       1        0  padding\n"
        "0,1      -1,1           0       2        0  padding\n"
        "0,2      -1,2           0       3        0  padding\n"
        "1,0      0,0            1       4        4\n"
        "1,1      0,1            2       5       10\n"
        "1,2      0,2            3       6       18\n"
        "2,0      1,0            6       7       42\n"
        "2,1      1,1            7       8       56\n"
        "2,2      1,2            8       9       72\n"
        "\n"
        "(0) (0) (0)     1 2 3      0  0  0\n"
        "  1   2   3  x  4 5 6  =   4 10 18\n"
        "  6   7   8     7 8 9     42 56 72\n"
        "\n"
        "sum: 202\n"
        "filter computes: 202\n"
    )


def test_a_bank_shows_channels_sums_and_bias(tmp_path):
    x = np.arange(2 * 3 * 4, dtype=float).reshape(2, 3, 4)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "k.yaml").write_text(
        "name: bank\nrank: 1\nweights: [[[1, 2], [3, 4]], [[0, 1], [-1, 0]]]\nbias: [10, 0]\n"
    )
    arguments = (tmp_path / "x.npy", "--axes", "CYX", "-k", tmp_path / "k.yaml", "--at", "1,2")
    text = ok("explain", *arguments, "--padding", "0").stdout.decode()
    first, second = x[:, 1, 2:4]
    sums = [float(first @ [1, 2]), float(second @ [3, 4]), float(first @ [0, 1]), float(second @ [-1, 0])]
    assert f"sums of the channels: {sums[0]:g} + {sums[1]:g}\nbias: 10\n" in text
    assert f"together: {sums[0] + sums[1] + 10:g}\n" in text
    assert f"sums of the channels: {sums[2]:g} + ({sums[3]:g})\nbias: 0\n" in text
    assert text.endswith(f"filter computes: {sums[0] + sums[1] + 10:g} {sums[2] + sums[3]:g}\n")
    only = ok("explain", *arguments, "--padding", "0", "--map", "1", "-q").stdout.decode()
    assert only == f"{sums[2] + sums[3]:g}\n"


def test_the_channels_of_a_picture_are_explained_each(capsys):
    assert run(["explain", str(SAMPLES / "house.png"), "-k", "1,2", "--at", "200,9"]) == 0
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if line[:2] in ("ch", "ma")] == [
        f"channel {c}" for c in range(3)
    ]
    assert "bias" not in text


def test_what_is_no_number_is_shown_as_such():
    done = ok("explain", "-", "-k", "1,2", "--at", "1", stdin=b"1\n2\nnan\n4\n")
    assert "1      2          nan       2      nan\n" in done.stdout.decode()
    assert done.stdout.decode().endswith("filter computes: nan\n")


def test_many_taps_are_left_to_the_asking():
    arguments = (SAMPLES / "rgb-3x32x32.npy", "--axes", "CYX", "-k", SAMPLES / "bank-6x3x5x5.npy")
    text = ok("explain", *arguments, "--at", "3,4").stdout.decode()
    assert "450 taps are not shown: --map 0" in text and len(text.splitlines()) < 40
    assert len(ok("explain", *arguments, "--at", "3,4", "--map", "5").stdout.splitlines()) > 75


def test_a_magnitude_is_put_together_from_its_maps():
    text = ok("explain", "--input", "5x5", "-k", "sobel", "--at", "2,2").stdout.decode()
    expected = api.filter(np.arange(1.0, 26).reshape(5, 5), "sobel")[2, 2]
    assert "map 0, channel 0\n" in text and "map 1, channel 0\n" in text
    assert text.endswith(f"filter computes: {expected:.6g}\n")


def test_several_kernels_explain_the_last_one():
    data = np.arange(1.0, 26).reshape(5, 5)
    between = api.filter(data, "box:3")
    found = facts("--input", "5x5", "-k", "box:3", "-k", "sobel-x", "--at", "2,1")
    taps = found["sums"][0]["channels"][0]["taps"]
    assert [tap["value"] for tap in taps] == pytest.approx(between[1:4, 0:3].ravel().tolist())
    assert found["values"] == pytest.approx([api.filter(data, ["box:3", "sobel-x"])[2, 1]])


# Transposed


def test_the_inputs_that_contribute_to_a_transposed_output():
    found = facts(
        *(SAMPLES / "book-transposed.csv", "--as", "matrix", "-k", "1,2;3,4", "--transpose"),
        *("--stride", "1", "--at", "1,1"),
    )
    taps = found["sums"][0]["channels"][0]["taps"]
    assert {(tuple(tap["position"]), tap["value"], tap["weight"]) for tap in taps} == {
        ((0, 0), 5.0, 4.0),
        ((0, 1), 6.0, 3.0),
        ((1, 0), 7.0, 2.0),
        ((1, 1), 8.0, 1.0),
    }
    assert found["values"] == [5 * 4 + 6 * 3 + 7 * 2 + 8 * 1]


def test_an_output_between_the_kernels_has_no_inputs():
    text = ok("explain", "--input", "3", "-k", "2", "--transpose", "--stride", "3", "--at", "2").stdout
    assert text.decode() == (
        "no input reaches this output: it lies between the kernels\nsum: 0\nfilter computes: 0\n"
    )


# Pools


def test_where_the_maximum_came_from():
    arguments = (SAMPLES / "book-pool.csv", "--as", "matrix", "--at", "1,0")
    text = ok("explain", *arguments, "--pool", "max:2").stdout.decode()
    assert "1,1      3,1           31         1  <- the maximum\n" in text
    assert "maximum: 31, from y 3, x 1; all of the gradient goes there\n" in text
    mean = ok("explain", *arguments, "--pool", "avg:2").stdout.decode()
    assert mean.endswith("mean of 4: 21.5; each gets 1/4 of the gradient\nfilter computes: 21.5\n")
    assert "<- the minimum" in ok("explain", *arguments, "--pool", "min:2").stdout.decode()


def test_where_the_median_came_from():
    arguments = (SAMPLES / "book-pool.csv", "--as", "matrix", "--at", "1,0", "--pool")
    text = ok("explain", *arguments, "median:2").stdout.decode()  # of 12, 18, 25 and 31
    assert text.count("0.5  <- the median") == 2 and "18       0.5  <-" in text and "25       0.5  <-" in text
    assert (
        "\nmedian: 21.5, the mean of those at y 2, x 1 and y 3, x 0; each gets half of the gradient\n" in text
    )
    odd = ok("explain", *arguments, "median:3,s=1").stdout.decode()
    assert odd.count("1  <- the median") == 1 and "all of the gradient goes there\nfilter computes: " in odd


@pytest.mark.parametrize(
    ("samples", "shares"),
    [
        ([3, 1, 2], [0, 0, 1]),
        ([4, 1, 3, 2], [0, 0, 0.5, 0.5]),
        ([5, 5, 5, 5], [0, 0.5, 0.5, 0]),  # equal ones rank in order
        ([7, 1, 7, 7, 9], [0, 0, 1, 0, 0]),
        ([2, None, 1, None], [0.5, 0, 0.5, 0]),
        ([1, np.nan, 0, np.nan, 2], [0, 0, 0, 1, 0]),
        ([None, None], [0, 0]),
    ],
)
def test_the_shares_of_a_median(samples, shares):
    assert MEDIAN.shares(samples) == shares


@pytest.mark.parametrize("pool", ["max:3,s=2,p=1", "max:2,ceil", "avg:3,s=2,p=1", "avg:3,s=2,p=1,include"])
def test_the_gradients_route_is_torchs(pool):
    random = np.random.default_rng(3)
    x = random.integers(0, 4, (5, 7)).astype(float)  # equal values in most windows
    chain = bind([], Settings(pool=parse_pool(pool)), "YX", (5, 7), 1)
    results = reference(chain, x[None], "float64")[0]
    tensor = torch.tensor(x[None, None], requires_grad=True)
    if pool.startswith("max:2"):
        out = torch.max_pool2d(tensor, 2, 2, ceil_mode=True)
    elif pool.startswith("max"):
        out = torch.max_pool2d(tensor, 3, 2, 1)
    else:
        out = torch.nn.functional.avg_pool2d(tensor, 3, 2, 1, count_include_pad="include" in pool)
    for at in np.ndindex(*chain.output):
        found = explain_pool(chain.stages[0], x[None], at, [float(results[(0, *at)])]).outputs[0]
        assert found.value == pytest.approx(out[(0, 0, *at)].item())
        (gradient,) = torch.autograd.grad(out[(0, 0, *at)], tensor, retain_graph=True)
        ours = np.zeros_like(x)
        for tap in found.taps:
            if tap.tap.source is not None:
                ours[tap.tap.source] += tap.gradient
        assert np.abs(ours - gradient.numpy()[0, 0]).max() < 1e-12


@pytest.mark.parametrize("mode", PadMode)
def test_frames_show_what_stands_outside(mode):
    frames = frames_of("4x3", "3x3", padding="5", pad_mode=mode)
    x = np.arange(1.0, 13).reshape(4, 3)
    assert frames[0].input.values == tuple(pad_modes.padded(x, 5, mode).ravel())
    for frame in frames:
        (at,) = frame.lit_outputs
        assert sum(weight * frame.input.at(place) for place, weight in frame.weights) == frame.output.at(at)


def test_a_nan_wins_and_padding_never_does():
    x = np.array([[-5.0, -3, -4, np.nan, 1, 2]])
    chain = bind([], Settings(pool=parse_pool("max:3,p=1")), "X", (6,), 1)
    first, second = (explain_pool(chain.stages[0], x, (at,), [0.0]).outputs[0] for at in (0, 1))
    assert [tap.tap.position for tap in first.sharing] == [(1,)]
    assert [tap.tap.position for tap in second.sharing] == [(3,)]


# The film: numbers read back from the frames


def test_the_frames_tell_the_whole_arithmetic():
    frames = frames_of("5x5", "3x3", stride=(2,), padding="1")
    x = torch.arange(1.0, 26).reshape(1, 1, 5, 5)
    expected = torch.conv2d(x, torch.arange(1.0, 10).reshape(1, 1, 3, 3), stride=2, padding=1)[0, 0]
    assert len(frames) == 9
    for number, frame in enumerate(frames):
        (at,) = frame.lit_outputs
        assert number == at[0] * 3 + at[1]
        added = sum(weight * frame.input.at(place) for place, weight in frame.weights)
        assert added == frame.output.at(at) == float(expected[at])
        assert frame.lit_inputs == {place for place, _ in frame.weights}
        assert min(frame.lit_inputs) == (2 * at[0] - 1, 2 * at[1] - 1)
        known = [value for value in frame.output.values if value is not None]
        assert known == expected.ravel()[: number + 1].tolist()
    assert frames[0].input.low == (-1, -1) and frames[0].input.shape == (7, 7)
    assert frames[0].caption == ("0x1 + 0x2 + 0x3 + 0x4 + 1x5 + 2x6 + 0x7 + 6x8 + 7x9 = 128")


@pytest.mark.parametrize(
    ("size", "kernel", "options"),
    [
        ("9", "3", {"dilation": (2,)}),
        ("4x4x4", "2x2x2", {"padding": "0"}),
        ("4x3x5", "3x1x2", {"stride": (1, 2, 1), "padding": "1"}),
        ("6x4", "1,-2;0,5", {"pad_mode": PadMode.CIRCULAR}),
        ("5", "2", {"padding": "full", "flip": True, "bias": (3.0,)}),
    ],
)
def test_films_in_one_to_three_dimensions(size, kernel, options):
    frames = frames_of(size, kernel, **options)
    bias = options.get("bias", (0.0,))[0]
    for frame in frames:
        (at,) = frame.lit_outputs
        added = sum(weight * frame.input.at(place) for place, weight in frame.weights)
        assert added + bias == pytest.approx(frame.output.at(at))
    assert None not in frames[-1].output.values and len(frames) == len(frames[-1].output.values)


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": (2,), "dilation": (2,)}, {"stride": (2,), "padding": "1", "output_padding": (1,)}],
)
@pytest.mark.parametrize(("size", "kernel"), [("4", "3"), ("3x2", "2x3"), ("2x2x2", "2x2x2")])
def test_a_transposed_film_ends_in_the_transposed_convolution(size, kernel, options):
    frames = frames_of(size, kernel, transposed=True, **options)
    whole = numbered(*parse_size(size))
    padding = {"padding": 1} if "padding" in options else {}
    extra = {"output_padding": 1} if "padding" in options else {}
    expected = api.filter(
        whole.whole()[0],
        read_kernel(kernel, 2, numbers=True),
        transpose=True,
        axes=whole.letters,
        stride=options.get("stride", (1,)),
        dilation=options.get("dilation", (1,)),
        **padding,
        **extra,
    )
    last = frames[-1].output
    assert last.inner == expected.shape
    assert [v for place, v in last.places() if last.inside(place)] == expected.ravel().tolist()
    assert len(frames) == whole.whole().size and all(len(frame.lit_inputs) == 1 for frame in frames)


def test_a_pools_film_shows_the_winner():
    frames = frames_of("6x6", None, pool="max:3,s=2,p=1")
    assert [frame.chosen for frame in frames[:3]] == [{(1, 1)}, {(1, 3)}, {(1, 5)}]
    assert frames[4].caption == "max(8, 9, 10, 14, 15, 16, 20, 21, 22) = 22"
    assert frames[0].input.at((-1, -1)) is None  # padding is nothing here
    frames = frames_of("4x4", None, pool="median:2")
    assert frames[0].caption == "median(1, 2, 5, 6) = 3.5" and frames[0].chosen == {(0, 1), (1, 0)}


@pytest.mark.parametrize(
    ("size", "kernel", "options"),
    [
        ("5x5", "3x3", {"stride": (2,), "padding": "1"}),
        ("9", "3", {"dilation": (2,)}),
        ("4x4x4", "2x2x2", {"padding": "0"}),
        ("3x3", "2x2", {"transposed": True, "stride": (2,)}),
        ("12x12", "5x5", {}),
    ],
)
def test_pictures_are_600_wide_and_only_the_lit_cells_change(size, kernel, options):
    frames = frames_of(size, kernel, **options)
    painter = Painter(frames, numbered(*parse_size(size)).letters)
    first, second = painter.paint(frames[0]), painter.paint(frames[1])
    assert first.shape == second.shape and first.shape[1] == 600 and first.shape[0] % 2 == 0
    assert first.shape == (painter.size[1], 600, 3)
    margin = 3
    edges = [first[:, :margin], first[:, -margin:], first[:margin], first[-margin:]]
    assert all((edge == 255).all() for edge in edges)  # nothing runs out of the picture
    changed = (first != second).any(axis=2).mean()
    assert 0.001 < changed < 0.5


@pytest.mark.parametrize("rank", [1, 2])
def test_channels_that_are_summed_stand_beside_each_other(rank):
    random = np.random.default_rng(8)
    x = random.integers(-5, 9, (3, 6, 5)[: rank + 1]).astype(float)
    w = random.integers(-5, 9, (2, 3, 3, 2)[: rank + 2]).astype(float)
    kernel = Kernel("bank", w.shape, tuple(w.ravel()), bias=(0.5, -2.0))
    padding = parse_padding("1")
    chain = bind([kernel], Settings(stride=(2,), padding=padding), "YX"[-rank:], x.shape[1:], 3)
    conv = torch.nn.functional.conv1d if rank == 1 else torch.nn.functional.conv2d
    own = conv(torch.tensor(x)[None], torch.tensor(w[1])[:, None], stride=2, padding=1, groups=3)[0].numpy()
    total = own.sum(axis=0) - 2
    frames = list(slide(chain.stages[0], x, total, 1))
    assert len(frames) == total.size
    for at, frame in zip(np.ndindex(*total.shape), frames, strict=True):
        assert frame.output.at(at) == total[at] and frame.lit_outputs == {at}
        for channel in range(3):
            board, kernel, products = (
                frame.boards[f"{name} {channel}"] for name in ("input", "kernel", "products")
            )
            np.testing.assert_array_equal(
                np.reshape(board.values, board.shape), np.pad(x, 1)[channel + 1][reach(board)]
            )
            assert kernel.values == tuple(w[1, channel].ravel())
            assert sum(products.values) == own[(channel, *at)]
            under = [board.at(place) for place in sorted(frame.lit_inputs)]
            assert products.values == tuple(a * b for a, b in zip(under, kernel.values, strict=True))
        assert frame.caption.endswith(f" + bias (-2) = {total[at]:g}")
    assert Painter(frames, "YX"[-rank:]).paint(frames[0]).shape[1] == 600
    frame = close_up(chain.stages[0], x, (0,) * rank, float(total.flat[0]), total.shape, 1)
    assert sum(frame.boards["products 2"].values) == own[2].flat[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_maps_of_a_bank_grow_one_after_another(channels):
    random = np.random.default_rng(9)
    x = random.integers(-5, 9, (channels, 4, 5)).astype(float)
    w = random.integers(-5, 9, (3, channels, 2, 2)).astype(float)
    kernel = Kernel("bank", w.shape, tuple(w.ravel()))
    chain = bind([kernel], Settings(padding=parse_padding("0")), "YX", x.shape[1:], channels)
    maps = torch.nn.functional.conv2d(torch.tensor(x)[None], torch.tensor(w))[0].numpy()
    frames = list(grow(chain.stages[0], x if channels > 1 else x[0], maps))
    assert len(frames) == maps.size
    for number, frame in enumerate(frames):
        which, at = divmod(number, maps[0].size)
        assert frame.which == which
        for index in range(3):
            board = frame.boards[f"map {index}"]
            known = min(max(number + 1 - index * maps[0].size, 0), maps[0].size)
            assert board.values[:known] == tuple(maps[index].flat[:known])
            assert set(board.values[known:]) <= {None}
        assert frame.maps[which].values[at] == maps[which].flat[at]
        under = [frame.input.at(place) * weight for place, weight in frame.weights]
        assert under == [
            a * b for a, b in zip(under_window(x[0], number, maps.shape), w[which, 0].flat, strict=True)
        ]
    ends = frames[0], frames[-1]
    first = Painter(ends, "YX").paint(frames[0])
    assert np.array_equal(first, Painter(ends[::-1], "YX").paint(frames[0]))  # with its own titles and sums
    with pytest.raises(UsageError, match="--map 0 shows one"):
        list(grow(chain.stages[0], x[0], np.zeros((3, 20, 20))))


def test_rays_of_a_signal_end_at_the_map_that_grows():
    x, w = np.arange(12.0).reshape(2, 6), np.ones((3, 2, 2))
    chain = bind(
        [Kernel("bank", w.shape, tuple(w.ravel()))], Settings(padding=parse_padding("0")), "X", (6,), 2
    )
    maps = torch.nn.functional.conv1d(torch.tensor(x)[None], torch.tensor(w))[0].numpy()
    frames = list(grow(chain.stages[0], x, maps))
    painter = Painter(frames, "X")
    first, second = (next(one for one in painter._grids if one.board == f"map {n}") for n in (0, 1))
    for frame, grid in ((frames[0], first), (frames[5], second)):
        below = painter.paint(frame)[grid.y + grid.cell + 1 : painter.size[1] - 110]
        assert (below == 255).all()


def under_window(x: np.ndarray, number: int, shape: tuple[int, ...]) -> list[float]:
    row, column = divmod(number % (shape[1] * shape[2]), shape[2])
    return x[row : row + 2, column : column + 2].ravel().tolist()


def reach(board: Any) -> tuple[slice, ...]:
    """Return where a board lies in data with one element of padding."""
    return tuple(slice(low + 1, high + 1) for low, high in zip(board.low, board.high, strict=True))


def test_a_close_up_of_a_large_input_has_only_the_window():
    x = np.arange(100.0 * 80).reshape(100, 80)
    chain = bind([load_kernel("sobel-x")], Settings(), "YX", x.shape, 1)
    frame = close_up(chain.stages[0], x, (50, 0), 1.0, (100, 80))
    assert (frame.input.low, frame.input.high) == ((48, -1), (53, 3))
    assert frame.input.at((50, 0)) == x[50, 0] == frame.input.at((50, -1))
    assert frame.output.title == "output 50,0"


# Files


def test_animations_on_the_shell(tmp_path):
    arguments = ("--input", "5x5", "-k", "3x3", "--stride", "2", "--padding", "1")
    done = ok("explain", "--animate", tmp_path / "a.gif", *arguments)
    assert done.stdout.decode() == f"{tmp_path / 'a.gif'}: 9 frames\n"
    with Image.open(tmp_path / "a.gif") as film:
        assert (film.size[0], film.n_frames, film.info["duration"], film.info["loop"]) == (600, 9, 500, 0)
        expected = Painter(frames_of("5x5", "3x3", stride=(2,), padding="1"), "YX")
        film.seek(4)
        picture = np.asarray(film.convert("RGB")).astype(int)
    frame = expected.paint(frames_of("5x5", "3x3", stride=(2,), padding="1")[4]).astype(int)
    assert np.abs(picture - frame).max() < 40 and np.abs(picture - frame).mean() < 1


def test_a_film_as_mp4(tmp_path):
    av = pytest.importorskip("av")
    ok("explain", "--animate", tmp_path / "a.mp4", "--input", "6", "-k", "3", "--transpose", "--fps", "4")
    with av.open(str(tmp_path / "a.mp4")) as film:
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in film.decode(video=0)]
    assert len(shapes) == 6 and {shape[1] for shape in shapes} == {600}


def test_one_window_as_a_picture(tmp_path):
    done = ok("explain", SAMPLES / "house.png", "-k", "sobel-x", "--at", "40,25", "-o", tmp_path / "w.png")
    assert done.stdout.decode().splitlines()[0] == str(tmp_path / "w.png")
    with Image.open(tmp_path / "w.png") as picture:
        assert picture.size[0] == 600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--input", "5x5", "-k", "3x3", "--at", "5,0"),
            "--at 5,0 lies outside the output: y 0 to 4, x 0 to 4",
        ),
        (("--input", "5x5", "-k", "3x3", "--at", "1"), "--at 1 has 1 number and the output the axes y,x"),
        (("--input", "5x5", "-k", "3x3", "--at", "-1,0"), "--at -1 is not possible"),
        (("--input", "5x5", "-k", "3x3", "--at", "a"), "--at 'a' is not a number"),
        (("--input", "5x5", "-k", "3x3"), "--at says which output value to explain"),
        (("--input", "5x5", "--at", "0,0"), "nothing to explain: give a kernel"),
        (("-k", "3x3", "--at", "0,0"), "give either a file, or --input SIZE"),
        (
            ("--input", "2x2", "-k", "3x3", "--at", "0,0", "--padding", "0"),
            "kernel 3 is larger than the input 2",
        ),
        (("--input", "5x5", "-k", "3x3", "--at", "0,0", "--map", "1"), "--map 1 is not there: 0 to 0 are"),
        (("--input", "5x5", "-k", "3x3", "--at", "0,0", "--channel", "2"), "--channel 2 is not there"),
        (("--input", "50x50", "-k", "3x3", "--animate", "a.gif"), "too many to look at"),
        (("--input", "5x5", "-k", "sobel", "--animate", "a.gif"), "a picture shows one kernel"),
        (("--input", "5x5", "-k", "3x3", "--animate", "a.csv"), "name a .gif, .mp4 or .html file"),
        (("--input", "5x5", "-k", "3x3", "--animate", "a.xyz"), "unknown suffix '.xyz'"),
        (("--input", "5x5", "-k", "3x3", "--animate", "a.gif", "--fps", "0"), "--fps 0 is not possible"),
        (("--input", "5x5", "-k", "3x3", "--animate", "a.gif", "-o", "a.png"), "-o draws one output"),
        (("--input", "7@5x5", "-k", "3x3", "--channels", "sum", "--animate", "a.gif"), "up to 6 channels"),
        (
            ("--input", "2@5x5", "-k", "3x3", "--channels", "sum", "--animate", "a.html"),
            "a page shows one channel",
        ),
        (("--input", "5x5", "-k", "0x3", "--at", "0,0"), "kernel size '0x3' is not possible"),
        (("--input", "60x60", "-k", "box:31", "--at", "9,9", "-o", "a.png"), "too wide for a picture"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(tmp_path, arguments, message):
    done = convcli("explain", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.decode() and done.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_is_too_long_is_refused_before_anything_is_computed(capsys, monkeypatch):
    monkeypatch.setattr("convcli.explanations.task._computed", None)
    assert run(["explain", "--input", "5000x5000", "-k", "3x3", "--animate", "a.gif"]) == 2
    assert "25000000 frames of 5002 cells are too many" in capsys.readouterr().err


def test_a_lone_number_is_a_weight_for_files_and_a_size_for_sizes():
    assert facts(SAMPLES / "book-signal.csv", "-k", "3", "--at", "1")["values"] == [12.0]
    assert facts("--input", "7", "-k", "3", "--at", "1")["values"] == [1 + 4 + 9]


def test_explanations_are_plain_values():
    data = np.arange(5.0)[None]
    chain = bind([load_kernel("1,2")], Settings(), "X", (5,), 1)
    found = explain_conv(chain.stages[0], data, (1,), [5.0])
    assert found == explain_conv(chain.stages[0], data, (1,), [5.0]) and isinstance(found, ConvExplanation)


def test_results_are_decimals(tmp_path):
    array = np.random.default_rng(3).integers(0, 65535, (9, 9)).astype(np.uint16)
    Image.fromarray(array).save(tmp_path / "a.png")
    weights = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    want = float((array[2:7, 2:7] * weights).sum())
    said = ok("explain", tmp_path / "a.png", "-k", "binomial5", "--at", "4,4").stdout.decode().splitlines()
    assert said[-1] == f"filter computes: {want:.2f}" and "/" not in said[-2]


def _inputs(folder: Path) -> dict[str, list[str]]:
    """Write one input of each kind; return what reads it."""
    random = np.random.default_rng(5)
    named = {}
    for name, channels in {"grey": (), "rgb": (3,), "rgba": (4,), "grey-alpha": (2,)}.items():
        pixels = random.integers(0, 256, (9, 11, *channels)).astype(np.uint8)
        if name.endswith("a"):
            pixels[2:7, 3:9, -1] = 0
        Image.fromarray(pixels).save(folder / f"{name}.png")
        named[name] = [f"{folder}/{name}.png"]
    deep = random.integers(0, 65536, (9, 11, 4)).astype(np.uint16)
    tifffile.imwrite(folder / "deep.tiff", deep, photometric="rgb", extrasamples=[2])
    named["deep"] = [f"{folder}/deep.tiff"]
    holes = random.normal(0, 1e3, (3, 9, 11)).astype(np.float32)
    holes[1, 4, 5] = np.nan
    frames = np.repeat(random.integers(0, 256, (1, 140, 150)), 4, axis=0).astype(np.uint8)  # no motion
    for name, array, axes in [("holes", holes, "CYX"), ("clip", frames, "TYX")]:
        np.save(folder / f"{name}.npy", array)
        named[name] = [f"{folder}/{name}.npy", "--axes", axes]
    return named


CHAINS = (
    *(
        ["-k", "gaussian:sigma=1.2"],
        ["-k", "1,2,3;4,5,7;-6,8,1"],
        ["-k", "0.1,0.2;0.3,0.7", "--pool", "max:2"],
    ),
    *(["-k", "box:3", "-k", "sobel"], ["--pool", "avg:3,s=2,p=1"], ["-k", "kirsch", "-k", "smooth3"]),
)


def test_explain_tells_the_numbers_that_filter_stores(tmp_path, capfd):
    random = np.random.default_rng(11)
    for name, reading in _inputs(tmp_path).items():
        for chain in (*CHAINS, *([["-k", "motion"]] if name == "clip" else [])):
            ways = ["luma", "grey", "each"] if name in ("rgb", "rgba", "deep") else ["each"]
            job = [*reading, *chain, "--channels", ways[random.integers(len(ways))]]
            assert run(["filter", *job, "-o", f"{tmp_path}/out.npy", "-y", "--json"]) == 0, job
            axes = "".join(one["letter"] for one in json.loads(capfd.readouterr().out)["axes"])
            stored = np.load(tmp_path / "out.npy")
            stored = np.moveaxis(stored, axes.index("C"), -1) if "C" in axes else stored[..., None]
            stored = np.moveaxis(stored, 0, -2) if "M" in axes else stored[..., None, :]
            if name in ("rgba", "grey-alpha", "deep"):
                stored = stored[..., :-1]
            at = tuple(int(random.integers(size)) for size in stored.shape[:-2])
            found = facts(*job, "--at", ",".join(map(str, at)))
            told = [one["value"] for one in found["outputs"]] if "outputs" in found else found["values"]
            assert np.array_equal(np.float32(told), stored[at].ravel(), equal_nan=True), (job, at)
            if chain[-1] == "motion":
                assert told == [0.0]


def test_all_positions_of_a_max_pool_and_the_route_of_its_gradient(tmp_path: Path) -> None:
    data = np.random.default_rng(2).normal(size=(2, 7, 8))
    np.save(tmp_path / "a.npy", data)
    run = ("explain", "a.npy", "--axes", "CYX", "--pool", "max:3x2,s=2x1,p=1x0")
    facts = json.loads(ok(*run, "-o", "p.npy", "--json", cwd=tmp_path).stdout)["route"]
    x = torch.tensor(data, requires_grad=True)
    out, places = torch.nn.functional.max_pool2d(x, (3, 2), (2, 1), (1, 0), return_indices=True)
    out.sum().backward()
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), places)
    np.testing.assert_array_equal(facts["positions"], places)
    np.testing.assert_array_equal(facts["gradient"], x.grad)
    ok(*run, "-o", "route.png", cwd=tmp_path)
    done = ok("explain", SAMPLES / "book-pool.csv", "--as", "matrix", "--pool", "avg:3,s=1")
    x = torch.zeros(1, 4, 4, requires_grad=True)
    torch.nn.functional.avg_pool2d(x, 3, 1).sum().backward()
    rows = [
        [float(Fraction(cell)) for cell in line.split()] for line in done.stdout.decode().splitlines()[1:]
    ]
    np.testing.assert_allclose(rows, x.grad[0], atol=1e-5)


def test_numbered_pictures_are_one_clip(tmp_path: Path) -> None:
    """As `filter` reads them: a value has taps in three frames."""
    frames = np.random.default_rng(3).integers(0, 256, (4, 5, 6), dtype=np.uint8)
    for number, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(tmp_path / f"{number:03}.png")
    found = ok("explain", tmp_path / "%03d.png", "-k", "temporal-mean:3", "--at", "1,2,3", "-q")
    assert float(found.stdout) == pytest.approx(frames[1:4, 2, 3].mean(), rel=1e-5)


def test_one_of_several_items_is_explained(tmp_path: Path) -> None:
    values = np.random.default_rng(4).normal(size=(3, 2, 5, 6))
    np.save(tmp_path / "a.npy", values)
    call = ("explain", "a.npy", "--axes", "NCYX", "-k", "box:3", "--channels", "sum")
    done = ok(*call, "--at", "2,1,3", "--json", cwd=tmp_path)
    facts = json.loads(done.stdout)
    assert facts["at"] == [1, 3]
    assert facts["values"] == pytest.approx([values[2, :, 0:3, 2:5].sum() / 9])
    assert api.explain(values, "box:3", at=(2, 1, 3), axes="NCYX", channels="sum").values == pytest.approx(
        facts["values"]
    )
    for at, words in (("1,3", b"3 items: give n,y,x"), ("3,1,3", b"item 3 is not there: along N are 0 to 2")):
        done = convcli(*call, "--at", at, cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr


def test_one_channel_of_a_sum_is_said_to_be_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(60.0).reshape(3, 4, 5))
    call = ("explain", "a.npy", "--axes", "CYX", "-k", "box:3", "--channels", "sum", "--at", "1,1")
    done = ok(*call, "--channel", "1", cwd=tmp_path)
    assert done.stderr == b"note: channel 1 is shown; filter sums over all 3\n"
    assert not ok(*call, cwd=tmp_path).stderr


def test_pools_films_and_nets_take_an_item_apart(tmp_path: Path) -> None:
    values = np.random.default_rng(4).normal(size=(3, 1, 5, 6))
    np.save(tmp_path / "a.npy", values)
    data = ("a.npy", "--axes", "NCYX")
    ok("explain", *data, "--pool", "max:2", "--at", "2", "-o", "at.npy", "-q", cwd=tmp_path)
    found = torch.nn.functional.max_pool2d(torch.tensor(values), 2, return_indices=True)[1]
    np.testing.assert_array_equal(np.load(tmp_path / "at.npy"), found[2, 0])
    done = ok("explain", *data, "-k", "2x2", "--padding", "0", "--animate", "a.gif", cwd=tmp_path)
    assert done.stderr == b"note: item 0 of 3 is shown; --at 1 takes the next\n"
    (tmp_path / "net.yaml").write_text("layers: [{conv: {kernel: sobel-x}}, {gpool: {kind: avg}}, flatten]\n")
    net = ("explain", *data, "--net", "net.yaml", "--map", "0")
    done = ok(*net, "--layer", "conv1", "--at", "2,1,3", "-q", cwd=tmp_path)
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float64)
    maps = torch.nn.functional.conv2d(torch.tensor(values), sobel[None, None])[:, 0]
    assert float(done.stdout) == pytest.approx(maps[2, 1, 3].item(), rel=1e-5)
    assert float(ok(*net, "--at", "1", "-q", cwd=tmp_path).stdout) == pytest.approx(
        maps[1].mean().item(), rel=1e-5
    )
