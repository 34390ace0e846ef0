"""The compiled loops: the bits of numpy's sums, for every width of vectors, cut of the work and number of threads."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate1d

from convcli.engines.algorithms import NumpyDirect
from convcli.engines.base import pool_sizes
from convcli.engines.interface import Correlation, Outside
from convcli.engines.native import library, rows
from convcli.engines.on_numpy import sums
from convcli.engines.padding import pad
from convcli.geometry.padding import PadMode
from convcli.kernel.analysis import separable_terms
from convcli.kernel.model import Combine
from convcli.pixels.render import Rendering, Tally, render

FORMS: dict[str, tuple[Callable, Callable]] = {
    "direct": (rows.dense, sums.direct),
    "integer": (rows.integer, sums.integer),
    "separable": (rows.separable, sums.separable),
    "box": (rows.box, sums.box),
}


def test_the_loops_are_there_where_a_compiler_is() -> None:
    compiler = os.environ.get("CC") or any(map(shutil.which, ("cc", "gcc", "clang")))
    assert library.load() or not compiler, "not compiled: run make, or python hatch_build.py"


def widths() -> list[library.Loops]:
    found = [library.load(str(width)) for width in library.WIDTHS]
    return [one for one in found if one]


@pytest.fixture(autouse=True)
def _loops() -> None:
    if not widths():
        pytest.skip("no C compiler")


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[library.Loops], None]]:
    yield lambda loops: monkeypatch.setattr(library, "loops", lambda: loops)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, Correlation]:
    form = draw(st.sampled_from(list(FORMS)))
    rank = draw(st.integers(1, 3))
    axes = lambda lo, hi: tuple(draw(st.integers(lo, hi)) for _ in range(rank))  # noqa: E731
    kernel, dilation = axes(1, 12 if rank < 3 else 4), axes(1, 3)
    stride = axes(1, 3) if draw(st.booleans()) else (1,) * rank
    size = tuple(
        d * (k - 1) + 1 + n
        for k, d, n in zip(kernel, dilation, axes(0, 150 if rank < 3 else 20), strict=True)
    )
    maps = (draw(st.integers(1, 3)), draw(st.integers(1, 3))) if form == "direct" else (1, 1)
    wide = np.dtype(draw(st.sampled_from(["float32", "float32", "float64"])))
    types = ["uint8", "int8", "uint16", "int16"] if form == "integer" else [*rows.TYPES[:4], wide.name]
    dtype = np.dtype(draw(st.sampled_from(types)))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    shape = (draw(st.integers(1, 4)), maps[1], *size)
    if dtype.kind == "f":
        x = random.normal(0, 100, shape).astype(dtype)
    else:
        x = random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, shape).astype(dtype)
    if draw(st.booleans()):  # interleaved pixels
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)
    weights = random.normal(size=(*maps, *kernel))
    if form == "integer":
        weights = random.integers(-4, 5, weights.shape) * 1.0
        weights.flat[np.abs(weights).cumsum() > 250] = 0
        weights.flat[0] = 1
        weights /= draw(st.sampled_from([1, 3, 8]))
    elif form == "separable":
        terms = [[random.normal(size=k) for k in kernel] for _ in range(draw(st.integers(1, 2)))]
        weights = sum(reduce(np.multiply.outer, term) for term in terms).reshape(1, 1, *kernel)
    elif form == "box":
        weights[:] = draw(st.sampled_from([1 / weights.size, 0.7]))
    elif draw(st.booleans()):
        weights[random.random(weights.shape) < 0.3] = 0
    finite = dtype.kind != "f" or draw(st.booleans())
    threads = draw(st.integers(1, 3))
    sizes = pool_sizes(x, kernel, stride, dilation)
    return form, Correlation(x, weights.astype(wide), sizes, stride, dilation, finite=finite, threads=threads)


def as_floats(call: Correlation) -> Correlation:
    return replace(call, x=call.x.astype(call.weights.dtype), threads=1)


@settings(max_examples=150, deadline=None)
@given(problem=calls())
def test_every_width_gives_the_bits_of_the_reference(problem: tuple[str, Correlation]) -> None:
    form, call = problem
    if form == "separable" and separable_terms(call.weights[0, 0]) is None:
        return
    compiled, plain = FORMS[form]
    want = plain(as_floats(call))
    for loops in widths():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(library, "loops", lambda loops=loops: loops)
            got = rows.correlate(call, compiled)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want, err_msg=f"{form}, vectors of {loops.width} bytes")


@settings(max_examples=150, deadline=None)
@given(problem=calls(), mode=st.sampled_from(PadMode), data=st.data())
def test_padding_on_the_way_is_padding_before(
    problem: tuple[str, Correlation], mode: PadMode, data: st.DataObject
) -> None:
    """Every mode, by more than the data are long, and boxes that begin inside."""
    form, call = problem
    few = form == "separable" and separable_terms(call.weights[0, 0]) is None
    if few or not NumpyDirect().pads(call.x.dtype, call.weights.dtype, mode):
        return
    ranges = []
    for n, extent in zip(call.x.shape[2:], extents(call), strict=True):
        lo = data.draw(st.integers(-min(2 * n, 40), n - 1))
        ranges.append((lo, lo + extent + data.draw(st.integers(0, min(2 * n, 60)))))
    value = float(data.draw(st.sampled_from([0, 7, -3, 2.5, 255, 1000])))
    padded = pad(call.x, ranges, mode, value, call.weights.dtype)
    sizes = pool_sizes(padded, call.weights.shape[2:], call.stride, call.dilation)
    call = replace(call, sizes=sizes)
    want = FORMS[form][1](replace(call, x=padded, threads=1))
    for loops in widths():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(library, "loops", lambda loops=loops: loops)
            lazy = replace(call, outside=Outside(tuple(ranges), mode, value))
            got = rows.correlate(lazy, FORMS[form][0])
        np.testing.assert_array_equal(got, want, err_msg=f"{form} {mode}, vectors of {loops.width} bytes")


def extents(call: Correlation) -> list[int]:
    return [d * (k - 1) + 1 for d, k in zip(call.dilation, call.weights.shape[2:], strict=True)]


@settings(max_examples=40, deadline=None)
@given(problem=calls(), bad=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_no_numbers_spoil_what_the_reference_says(problem: tuple[str, Correlation], bad: float) -> None:
    form, call = problem
    if call.x.dtype.kind != "f" or (form == "separable" and separable_terms(call.weights[0, 0]) is None):
        return
    call.x.flat[call.x.size // 2] = bad
    compiled, plain = FORMS[form]
    call = replace(call, finite=False)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(rows.correlate(call, compiled), plain(as_floats(call)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("combine", Combine)
@pytest.mark.parametrize("compute", ["float32", "float64"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"absolute": True},
        {"scale": 0.4, "offset": 100.0},
        {"anchor": -7.5, "width": 3.0, "scale": 41.0},
    ],
    ids=["clip", "abs", "offset", "window"],
)
def test_pixels_are_what_rendering_makes_of_the_sums(
    use: Callable, dtype: str, combine: Combine, compute: str, how: dict
) -> None:
    """Bias and combination first, in numpy's operations; the counts too."""
    random = np.random.default_rng(7)
    x = random.integers(0, np.iinfo(dtype).max + 1, (3, 1, 40, 371)).astype(dtype)
    x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)
    weights = random.normal(size=(2, 1, 3, 2)).astype(compute)
    sizes = pool_sizes(x, (3, 2), (1, 1), (1, 1))
    call = Correlation(x, weights, sizes, (1, 1), (1, 1), finite=True, bias=(20.25, -11.5), combine=combine)
    bank = sums.direct(as_floats(call)) + np.array(call.bias, compute).reshape(2, 1, 1)
    values = {
        Combine.NONE: bank,
        Combine.MAGNITUDE: np.sqrt(np.square(bank).sum(axis=1, keepdims=True)),
        Combine.MAX: bank.max(axis=1, keepdims=True),
        Combine.SUM: bank.sum(axis=1, keepdims=True),
    }[combine]
    rendering = Rendering(dtype, **how, low=0, top=float(np.iinfo(dtype).max))
    want, counted = render(values.copy(), rendering)
    for loops in widths():
        use(loops)
        got, tally = rows.pixels(call, rows.dense, rendering, None)
        np.testing.assert_array_equal(got, want)
        assert tally == counted
        assert 0 < tally.clipped < tally.values


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("wide", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 300), (40, 1), (31, 31), (90, 101)], ids=str)
def test_sums_of_boxes_of_integers_are_exact(
    monkeypatch: pytest.MonkeyPatch, dtype: str, wide: type[np.floating], kernel: tuple[int, int]
) -> None:
    """Where floats would not count them too, for one channel, three, and more than a vector holds."""
    random, limits = np.random.default_rng(9), np.iinfo(dtype)
    for channels, fill in ((1, 0.0), (3, 7.0), (67, 0.0)):
        x = random.integers(limits.min, limits.max + 1, (95, 170, channels)).astype(dtype)
        x[:, :9] = limits.max
        planes = x.transpose(2, 0, 1)[:, None]
        ranges = tuple((-k // 2, n + k // 3) for n, k in zip(x.shape[:2], kernel, strict=True))
        padded = pad(planes, ranges, PadMode.CONSTANT, fill, np.dtype(np.float64))
        sizes = pool_sizes(padded, kernel, (1, 1), (1, 1))
        want = padded
        for axis, (k, n) in enumerate(zip(kernel, sizes, strict=True), 2):
            want = correlate1d(want, np.ones(k), axis, origin=-(k // 2))
            want = want.take(range(n), axis)
        call = Correlation(planes, np.full((1, 1, *kernel), 1, wide), sizes, (1, 1), (1, 1), finite=True,
                           outside=Outside(ranges, PadMode.CONSTANT, fill))  # fmt: skip
        plain = replace(call, x=padded.astype(wide), outside=None)
        np.testing.assert_array_equal(sums.box(plain), want.astype(wide))
        for loops in widths():
            monkeypatch.setattr(library, "loops", lambda loops=loops: loops)
            np.testing.assert_array_equal(rows.correlate(call, rows.box), want.astype(wide))


def test_a_window_longer_than_the_ring_of_its_parts(use: Callable) -> None:
    """Tall and wide windows, narrow strips of columns, every start of a stride."""
    random = np.random.default_rng(3)
    for kernel, stride in (((101, 3), (1, 1)), ((64, 200), (7, 2)), ((37, 1), (40, 1)), ((5, 900), (2, 1))):
        x = random.normal(0, 9, (1, 1, 230, 5000)).astype(np.float32)
        weights = np.full((1, 1, *kernel), 0.3, np.float32)
        call = Correlation(x, weights, pool_sizes(x, kernel, stride, (1, 1)), stride, (1, 1), threads=2)
        want = sums.box(call)
        for loops in widths():
            use(loops)
            np.testing.assert_array_equal(rows.correlate(call, rows.box), want)


def test_results_go_where_they_belong_or_elsewhere() -> None:
    x = np.random.default_rng(3).random((1, 1, 20, 60), np.float32)
    weights = np.ones((1, 1, 3, 3), np.float32)
    call = Correlation(x, weights, (18, 58), (1, 1), (1, 1))
    whole = np.zeros((1, 1, 22, 70), np.float32)
    place = whole[:, :, 2:20, 5:63]
    assert rows.correlate(replace(call, out=place), rows.dense) is place
    np.testing.assert_array_equal(place, sums.direct(call))
    place[...] = 0
    assert not whole.any()
    across = np.zeros((1, 1, 18, 116), np.float32)[..., ::2]
    assert rows.correlate(replace(call, out=across), rows.dense) is not across


def test_another_library_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is none, one of another program, one of another version, and none at all."""
    assert library.load("0") is None
    monkeypatch.setattr(library, "ABI", library.ABI + 1)
    assert library.load() is None
    monkeypatch.undo()
    for content in (b"", b"\x7fELF nonsense"):
        (tmp_path / library.NAME).write_bytes(content)
        monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
        assert library.load() is None
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert library.load() is None
    (tmp_path / library.NAME).unlink()
    assert library.load() is None


@pytest.mark.parametrize(("asked", "width"), [("0", "None"), ("16", "16"), ("", "widest")])
def test_the_environment_chooses(asked: str, width: str) -> None:
    code = "from convcli.engines.native.library import loops; print(loops() and loops().width)"
    environment = {**os.environ, library.VARIABLE: asked}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    widest = str(widths()[0].width)
    assert done.stdout.strip() == (widest if width == "widest" else width)


@pytest.mark.parametrize("divisor", [2, 3, 4, 6, 9, 12, 25, 49, 64, 81, 121, 169, 225, 254, 256])
def test_means_of_bytes_are_rounded_as_their_quotients(use: Callable, divisor: int) -> None:
    """Every sum that a window of bytes can have; halves to even."""
    total = np.arange(255 * divisor + 1)
    x = (total // divisor + (np.arange(divisor)[:, None] < total % divisor)).astype(np.uint8)[None, None]
    whole, rest = np.divmod(total, divisor)
    want = whole + (2 * rest + whole % 2 > divisor)
    mean = np.full((1, 1, divisor, 1), 1 / divisor, np.float32)
    call = Correlation(x, mean, (1, len(total)), (1, 1), (1, 1), finite=True)
    for loops in widths():
        use(loops)
        for form in (rows.box, rows.integer):
            made, _ = rows.pixels(call, form, Rendering("uint8", low=0, top=255, fits=True), None)
            np.testing.assert_array_equal(made[0, 0, 0], want)


def test_counts_add_up_over_threads() -> None:
    x = np.zeros((1, 1, 64, 64), np.uint8)
    x[:, :, ::2] = 255
    weights = np.full((1, 1, 1, 1), 2, np.float32)
    call = Correlation(x, weights, (64, 64), (1, 1), (1, 1), finite=True, threads=4)
    _, tally = rows.pixels(call, rows.integer, Rendering("uint8", low=0, top=255), None)
    assert tally == Tally(values=64 * 64, clipped=32 * 64)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_magnitudes_in_cells_are_numpys(data: st.DataObject) -> None:
    """The largest of each cell, for every layout; then what is zero there is cleared of noise, and nothing else."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    rank, (items, channels) = (
        data.draw(st.integers(1, 3)),
        data.draw(st.sampled_from([(1, 1), (3, 1), (2, 3)])),
    )
    space = [data.draw(st.integers(1, (5000, 70, 20)[rank - 1])) for _ in range(rank)]
    cell = [data.draw(st.integers(1, n + 2)) for n in space]
    x = random.normal(size=(items, channels, *space)).astype(
        data.draw(st.sampled_from(["float32", "float64"]))
    )
    alike = data.draw(st.booleans())  # colours that are zero together
    x *= random.random((1, *x.shape[1:]) if alike else x.shape) < data.draw(st.sampled_from([0.01, 0.3, 1]))
    x.flat[random.integers(0, x.size)] = data.draw(st.sampled_from([-0.0, np.nan, -np.inf, 1e-42]))
    order = data.draw(st.permutations(range(x.ndim)))
    x = x.transpose(order).copy().transpose(np.argsort(order))
    want = np.empty((items, *(-(-n // width) for n, width in zip(space, cell, strict=True))), x.dtype)
    noisy, cleared = x + (x == 0), x + (x == 0)
    for place in np.ndindex(want.shape):
        part = [slice(at * width, at * width + width) for at, width in zip(place[1:], cell, strict=True)]
        want[place] = np.abs(x[(place[0], slice(None), *part)]).max()
        if want[place] == 0:
            cleared[(place[0], slice(None), *part)] = 0
    for loops in widths():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(library, "loops", lambda loops=loops: loops)
            found = rows.magnitudes(x, cell)
            np.testing.assert_array_equal(found, want)
            made = noisy.copy(order="K")
            if rows.clear(made, cell, found):
                np.testing.assert_array_equal(made, cleared)
            else:
                assert made.strides[-1] != made.itemsize
