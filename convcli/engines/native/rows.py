"""Calls of the compiled loops: arrays become rows, their work is shared among threads.

Each function returns the bits of its counterpart in `convcli.engines.on_numpy.sums`.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from convcli.common import frozen, frozen_identity
from convcli.engines import tiles
from convcli.engines.interface import Correlation, Outside
from convcli.engines.native import library
from convcli.engines.native.library import Job
from convcli.engines.native.ranks import MOST_ROWS, NETWORK, form_of
from convcli.engines.on_numpy.sums import COUNTED, integers, mean_of
from convcli.geometry.padding import PadMode
from convcli.kernel.analysis import separable_terms
from convcli.kernel.model import Combine
from convcli.pixels.render import Rendering, Tally

TYPES = ("uint8", "int8", "uint16", "int16", "float32", "float64")  # in the order of `rows.h`, as those below
CODES = {np.dtype(name): code for code, name in enumerate(TYPES)}
COMBINE = (Combine.NONE, Combine.MAGNITUDE, Combine.MAX, Combine.SUM)
DENSE, SEPARABLE, REDUCE, FIND, CLEAR = range(5)
FLOATS, DOUBLES, SHORTS, WORDS, FINE = range(5)
REDUCTIONS = ("add", "maximum", "minimum")
TIMES, DIVIDED_BY = 1, 2


@frozen
class Form:
    """What the loops do: fields of the job, and its weights.

    Attributes
    ----------
    weights : ndarray
        Dense: ``(maps, channels, *kernel)``.  Separable: of each term the vectors along z, y and x.
    terms : int
        Outer products that are added up; 0 for other forms.
    fields : dict
    ranks : ndarray, optional
        Which samples of each window are wanted, ``(N, ranks, *sizes)``.
    """

    weights: np.ndarray
    fields: dict[str, Any]
    terms: int = 0
    ranks: np.ndarray | None = None


def dense(call: Correlation) -> Form:
    """Return the sums over all taps."""
    return Form(call.weights, {"form": DENSE})


def integer(call: Correlation) -> Form:
    """Return the exact sums of integers with small integers, times the kernels' factor; quotients of means."""
    found = integers(call.weights)
    numbers = np.array([one.numbers for one in found], np.float64).reshape(call.weights.shape)
    fields = {"form": DENSE, **_scaled(found[0].divisor, found[0].factor)}
    unsigned = call.x.dtype.kind == "u"
    if call.x.dtype.kind != "f" and call.x.itemsize <= 2 and _fills_integers(call):
        with_sign = not unsigned or any(one.signed for one in found)
        if call.weights.dtype == np.float64:
            fields |= {"lanes": FINE, "with_sign": with_sign}
        elif call.x.itemsize == 1 and all(one.fits_16_bits(unsigned) for one in found):
            fields |= {"lanes": SHORTS, "with_sign": with_sign}
    return Form(numbers, fields)


def separable(call: Correlation) -> Form:
    """Return the sums axis by axis; several outer products are added up."""
    terms = separable_terms(call.weights[0, 0])
    if terms is None:
        raise ValueError(f"a kernel of shape {call.weights.shape} is not a sum of a few outer products")
    if len(terms) > 1 and (call.combine is not Combine.NONE or any(call.bias)):
        return dense(call)  # the terms are what is combined
    ones = [(1.0,)] * (3 - len(terms[0]))
    numbers = [value for term in terms for vector in (*ones, *term) for value in vector]
    return Form(np.array(numbers), {"form": SEPARABLE}, len(terms))


def box(call: Correlation) -> Form:
    """Return the sums of windows that share their parts, times the one weight; quotients of means."""
    fields = {"form": REDUCE, **_scaled(mean_of(call.weights), call.weights.flat[0])}
    small = call.weights.size <= COUNTED
    if call.x.dtype.kind != "f" and set(call.dilation[-2:]) == {1} and small and _fills_integers(call):
        short = call.weights.size << (8 * call.x.itemsize) <= 1 << 16
        lanes = FINE if call.weights.dtype == np.float64 else SHORTS if short else WORDS
        fields |= {"lanes": lanes, "with_sign": call.x.dtype.kind == "i"}
    return Form(call.weights, fields)


FORMS = {"direct": dense, "integer": integer, "separable": separable, "box": box}  # by their algorithms


def pool(call: Correlation, ufunc: str) -> np.ndarray:
    """Return the maxima, minima or sums of windows; extremes of small integers are such integers."""
    if ufunc != "add" and max(call.weights.shape) <= MOST_ROWS:
        rank = call.weights.size - 1 if ufunc == "maximum" else 0
        found, has_nan = ranked(call, np.array(rank).reshape(1, 1, *(1,) * len(call.sizes)))
        if found is not None and not has_nan:
            return found
    form = Form(call.weights, {"form": REDUCE, "reduce": REDUCTIONS.index(ufunc)})
    if call.x.dtype.kind == "f" or ufunc == "add":
        return _run(call, form, None, call.out)[0]
    form.fields.update(lanes=SHORTS, with_sign=call.x.dtype.kind == "i")
    return _run(call, form, Rendering(call.x.dtype.name, fits=True), call.out)[0]


def ranked(call: Correlation, ranks: np.ndarray) -> tuple[np.ndarray | None, bool]:
    """Return the samples of certain ranks of each window of planes, ``(N, ranks, *sizes)``, and whether one is NaN.

    -0 is 0, and NaN ranks last; where all windows have the same ranks, those that hold NaN become anything.  None
    stands for what the loops do not find, such as extremes where there is NaN.

    Parameters
    ----------
    call : Correlation
        Its weights say how large windows are.
    ranks : ndarray
        From 0, as 64-bit integers; with a value for each window if its shape is not ``(1, ranks, 1, ...)``.
    """
    kernel = call.weights.shape[2:]
    alike = tuple(ranks.ravel().tolist()) if ranks.size == ranks.shape[1] else None
    x = call.x if call.x.dtype.kind != "f" else call.x.astype(call.weights.dtype, copy=False)
    found = form_of(x.dtype, kernel, call.dilation, alike)
    if found is None:
        return None, False
    call = call if x is call.x else replace(call, x=x)
    made, tally = _run(call, Form(*found, ranks=ranks), None, call.out)
    stopped = tally.nans and found[1]["form"] == NETWORK and not found[1].get("steps")
    return None if stopped else made, tally.nans > 0


def _fills_integers(call: Correlation) -> bool:
    """Return whether what stands outside is one of the integers of the data's type."""
    fill = 0.0 if call.outside is None else call.outside.mode.fill(call.outside.value)
    limits = np.iinfo(call.x.dtype)
    return fill.is_integer() and limits.min <= fill <= limits.max


def _scaled(divisor: int | None, factor: float) -> dict[str, float]:
    return {"scale": DIVIDED_BY, "factor": divisor} if divisor else {"scale": TIMES, "factor": factor}


@lru_cache(maxsize=64)
def rounds_alike(divisor: int, top: int) -> bool:
    """Return whether integers up to ``divisor * top`` times 1 / divisor round to the integers of the quotients.

    In float32, where both err by less than half of 1 / divisor below 2^22, so that only ties have to be tried.
    """
    ties = (2 * np.arange(top) + 1) * divisor
    ties = (ties[ties % 2 == 0] // 2).astype(np.float32)
    products = ties * np.float32(1 / divisor)
    return divisor * (top + 1) < 1 << 22 and bool((np.rint(products) == np.rint(ties / divisor)).all())


def correlate(call: Correlation, form: Callable[[Correlation], Form]) -> np.ndarray:
    """Return the correlation, ``(N, O, *sizes)``; in ``call.out`` if it can."""
    if call.groups == 1:
        return _run(call, form(call), None, call.out)[0]
    parts = zip(np.split(call.x, call.groups, axis=1), np.split(call.weights, call.groups), strict=True)
    made = [correlate(replace(call, x=x, weights=weights, groups=1, out=None), form) for x, weights in parts]
    return np.concatenate(made, axis=1)


def pixels(
    call: Correlation, form: Callable[[Correlation], Form], how: Rendering, out: np.ndarray | None
) -> tuple[np.ndarray, Tally]:
    """Return the correlation as pixels, with its bias and its maps combined; in ``out`` if it can."""
    return _run(call, form(call), how, out)


def magnitudes(x: np.ndarray, cell: Sequence[int]) -> np.ndarray:
    """Return the largest magnitude, of all channels, in each cell of floats: ``(N, *cells)``; NaN if it holds one."""
    x = x if _has_rows(x) else np.ascontiguousarray(x)
    pixel = tiles.pixel_size(x)
    counts = [-(-n // width) for n, width in zip(x.shape[2:], cell, strict=True)]
    made = np.empty((len(x) // pixel, *counts, pixel), x.dtype)
    _run_cells(FIND, x, cell, made)
    return np.moveaxis(made, -1, 1).reshape(len(x), *counts)


def clear(x: np.ndarray, cell: Sequence[int], found: np.ndarray) -> bool:
    """Set floats to zero, in their place, in cells whose magnitude is zero; return whether it can, by rows."""
    if _has_rows(x):
        apart = np.moveaxis(found.reshape(-1, tiles.pixel_size(x), *found.shape[1:]), 1, -1)
        first = apart[..., :1]  # of colours that are empty together, which are cleared as one run
        alike = ((apart == 0) == (first == 0)).all()
        _run_cells(CLEAR, x, cell, np.ascontiguousarray(first if alike else apart))
    return _has_rows(x)


def _has_rows(x: np.ndarray) -> bool:
    return x.strides[-1] == x.itemsize * tiles.pixel_size(x)


def _run_cells(form: int, x: np.ndarray, cell: Sequence[int], cells: np.ndarray) -> None:
    ones, beside = (1,) * (5 - x.ndim), tiles.pixel_size(x) // cells.shape[-1]
    job = Job(
        x=x.ctypes.data,
        y=cells.ctypes.data,
        lanes=DOUBLES if x.dtype == np.float64 else FLOATS,
        form=form,
        items=len(cells),
        channels=x.shape[1],
        size=(*ones, *x.shape[2:-1], x.shape[-1] * beside),
        kernel=(*ones, *cell[:-1], cell[-1] * beside),
        pixel=cells.shape[-1],
        x_item=x.strides[0],
        x_channel=x.strides[1],
    )
    job.x_z, job.x_y = (0, 0, *x.strides[2:-1])[-2:]
    library.run(job)


@frozen_identity
class Run:
    """One run of the loops, as it was noted.

    Attributes
    ----------
    jobs : sequence of Job
    read, made : (int, int)
        The address and the bytes of what it read, and of what it made.
    held : tuple
        What the jobs point to beside these.
    """

    jobs: Sequence[Job]
    read: tuple[int, int]
    made: tuple[int, int]
    held: tuple[Any, ...]


@frozen_identity
class Recipe:
    """Jobs that make all of a result from all of an array, for other arrays of the same form.

    >>> Recipe.of([], np.zeros(3), np.zeros(3), 1) is None
    True
    """

    runs: Sequence[Run]
    jobs: Sequence[Job]
    threads: int
    read: int
    made: int
    shape: tuple[int, ...]
    dtype: np.dtype
    loops: library.Loops | None

    @classmethod
    def of(cls, runs: Sequence[Run], x: np.ndarray, out: np.ndarray, threads: int) -> "Recipe | None":
        """Return the recipe of runs, which have filled ``out``; None where they did not do it from ``x`` alone."""
        here, there = extent_of(x), extent_of(out)
        inside = all(_lies_in(run.read, here) and _lies_in(run.made, there) for run in runs)
        if not (x.flags.c_contiguous and inside and sum(run.made[1] for run in runs) == there[1]):
            return None
        jobs = [job for run in runs for job in run.jobs]
        return cls(runs, jobs, threads, here[0], there[0], out.shape, out.dtype, library.loops())

    def again(self, x: np.ndarray) -> np.ndarray | None:
        """Return the result for ``x``; None where that is not possible now."""
        loops = self.loops
        if loops is not library.loops() or loops is None or not x.flags.c_contiguous:
            return None
        address = tiles.address_of(x)
        out = tiles.apart(self.shape, self.dtype, address)
        come, gone = address - self.read, tiles.address_of(out) - self.made
        if len(self.jobs) == 1:
            loops.run_elsewhere(self.jobs[0], come, gone)
        else:
            tiles.run(
                lambda job: loops.run_elsewhere(job, come, gone), self.jobs, self.threads, tiles.THREADED
            )
        return out


def _lies_in(part: tuple[int, int], whole: tuple[int, int]) -> bool:
    return whole[0] <= part[0] and part[0] + part[1] <= whole[0] + whole[1]


RUNS: ContextVar[list[Run] | None] = ContextVar("RUNS", default=None)  # where runs are noted


def extent_of(x: np.ndarray) -> tuple[int, int]:
    """Return where an array begins in memory, and its bytes."""
    return tiles.address_of(x), x.nbytes


def _run(
    call: Correlation, form: Form, how: Rendering | None, out: np.ndarray | None
) -> tuple[np.ndarray, Tally]:
    """Run the loops over all of a call."""
    x, maps, dtype = call.x, len(call.weights), call.weights.dtype if how is None else np.dtype(how.dtype)
    if form.ranks is not None:
        maps, dtype = form.ranks.shape[1], x.dtype
    fill = 0.0
    sources: list[np.ndarray | None] = [None] * len(call.sizes)
    if call.outside is not None:
        x, sources = _sources(x, call.outside)
        fill = call.outside.mode.fill(call.outside.value)
    pixel = tiles.pixel_size(x)
    if pixel == 1 and x.strides[-1] != x.itemsize:
        x = np.ascontiguousarray(x)
    outputs = 1 if call.combine is not Combine.NONE else maps
    out = _place(out, (len(x), outputs, *call.sizes), pixel, dtype)
    weights = np.ascontiguousarray(form.weights, np.float64)
    bias = np.array(call.bias) if any(call.bias) else None
    ones = (1,) * (3 - len(call.sizes))
    whole = (*ones, *call.sizes)
    job = Job(
        x=x.ctypes.data,
        y=out.ctypes.data,
        items=len(x) // pixel,
        size=whole,
        weights=weights.ctypes.data,
        bias=None if bias is None else bias.ctypes.data,
        x_type=CODES[x.dtype],
        y_type=CODES[dtype],
        maps=form.terms or maps,
        channels=x.shape[1],
        kernel=(*ones, *call.weights.shape[2:]),
        stride=(*ones, *call.stride),
        dilation=(*ones, *call.dilation),
        pixel=pixel,
        x_channel=x.strides[1],
        y_map=out.strides[1],
        finite=call.finite,
        fill=fill,
        combine=COMBINE.index(Combine.SUM if form.terms > 1 else call.combine),
        **{"lanes": DOUBLES if call.weights.dtype == np.float64 else FLOATS, **form.fields},
    )
    if form.ranks is not None:
        job.ranks = form.ranks.ctypes.data
        steps = [
            step if size > 1 else 0 for size, step in zip(form.ranks.shape, form.ranks.strides, strict=True)
        ]
        job.rank_steps = (*steps[:2], *(0 for _ in ones), *steps[2:])
    for axis, table in enumerate([None] * len(ones) + sources):
        job.source[axis] = None if table is None else table.ctypes.data
    job.x_item, job.x_z, job.x_y = x.strides[0], *(0, 0, *x.strides[2:-1])[-2:]
    job.y_item, job.y_z, job.y_y = out.strides[0], *(0, 0, *out.strides[2:-1])[-2:]
    if how is not None:
        job.is_rendered, job.is_absolute, job.fits = True, how.absolute, how.fits
        job.anchor, job.width, job.times, job.offset = how.anchor, how.width, how.scale, how.offset
        job.low, job.top = how.low, how.top
        if how.plain and call.finite and bias is None and form.terms < 2 and call.combine is Combine.NONE:
            job.is_rounded = True
            if job.scale == DIVIDED_BY and rounds_alike(int(job.factor), int(how.top)):
                job.scale, job.factor = TIMES, 1 / job.factor
    jobs, operations = [job], out.size * max(weights.size, call.weights.size)
    if call.threads > 1 and operations >= tiles.THREADED:
        jobs = [
            _part(job, x.itemsize, out.itemsize, part) for part in _parts((job.items, *whole), call.threads)
        ]
    if (runs := RUNS.get()) is not None:
        held = weights, bias, form.ranks, sources
        copies = [Job.from_buffer_copy(one) for one in jobs]
        runs.append(Run(copies, extent_of(x), extent_of(out), held))
    tiles.run(library.run, jobs, call.threads, operations)
    return out, Tally(out.size, sum(one.clipped for one in jobs), sum(one.nans for one in jobs))


def _place(out: np.ndarray | None, shape: tuple[int, ...], pixel: int, dtype: np.dtype) -> np.ndarray:
    """Return ``out`` where it can be filled by rows, else a new array; pixels stay interleaved."""
    if out is not None and out.dtype == dtype and out.shape == shape:
        beside = pixel == 1 or out.strides[0] == out.itemsize
        if beside and out.strides[-1] == pixel * out.itemsize:
            return out
    items, *others = shape
    if pixel == 1:
        return np.empty(shape, dtype)
    return np.moveaxis(np.empty((*others, items), dtype), -1, 0)


def _sources(x: np.ndarray, outside: Outside) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Return data from the first sample that is seen, and for each axis which sample stands at each place.

    None stands for the samples in their order, -1 for the fill value.
    """
    first, tables = [slice(None)] * 2, []
    for (lo, hi), n in zip(outside.ranges, x.shape[2:], strict=True):
        inside = lo >= 0 and hi <= n
        first.append(slice(lo if inside else 0, None))
        tables.append(None if inside else _table(lo, hi, n, outside.mode))
    return x[tuple(first)], tables


@lru_cache(maxsize=64)  # the blocks of a job ask for the same again and again
def _table(lo: int, hi: int, n: int, mode: PadMode) -> np.ndarray:
    """Return which of n samples stands at each place of ``lo:hi``.

    >>> _table(-2, 5, 3, PadMode.REFLECT), _table(-1, 4, 3, PadMode.ZERO)
    (array([2, 1, 0, 1, 2, 1, 0]), array([-1,  0,  1,  2, -1]))
    """
    table = np.arange(lo, hi)
    for index in np.flatnonzero((table < 0) | (table >= n)).tolist():
        found = mode.sources(lo + index, n)
        table[index] = found[0][0] if found else -1
    return table


def _parts(shape: tuple[int, ...], threads: int) -> list[tuple[slice, ...]]:
    """Cut (items, z, y, x) of the output for the threads, along the first axis that is long enough."""
    axis = next((i for i, n in enumerate(shape) if n >= 8 * threads), int(np.argmax(shape)))
    step = tiles.even(shape[axis], -(-shape[axis] // threads))
    whole = [slice(0, n) for n in shape]
    return [
        (*whole[:axis], slice(start, min(start + step, shape[axis])), *whole[axis + 1 :])
        for start in range(0, shape[axis], step)
    ]


def _part(job: Job, x_size: int, y_size: int, part: tuple[slice, ...]) -> Job:
    """Return the job of a part of the outputs; items of the data and of the result have these sizes."""
    mine = Job.from_buffer_copy(job)
    first = [piece.start for piece in part]
    inputs = (job.x_z, job.x_y, job.pixel * x_size)
    outputs = (job.y_item, job.y_z, job.y_y, job.pixel * y_size)
    mine.x += first[0] * job.x_item
    for axis, (start, step, size) in enumerate(zip(first[1:], job.stride, inputs, strict=True)):
        if job.source[axis]:  # data stay where they are, the part of the table moves
            mine.source[axis] = job.source[axis] + start * step * 8
        else:
            mine.x += start * step * size
    mine.y += sum(map(prod, zip(first, outputs, strict=True)))
    if job.ranks:
        items, _, *steps = job.rank_steps
        mine.ranks += sum(map(prod, zip(first, (job.pixel * items, *steps), strict=True)))
    mine.items, *sizes = (piece.stop - piece.start for piece in part)
    mine.size = tuple(sizes)
    return mine
