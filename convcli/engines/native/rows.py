"""Calls of the compiled loops: arrays become rows, their work is shared among threads.

Each function returns the bits of its counterpart in `convcli.engines.on_numpy.sums`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from convcli.common.frozen import frozen
from convcli.engines import tiles
from convcli.engines.interface import Correlation
from convcli.engines.native import library
from convcli.engines.native.library import Job
from convcli.engines.on_numpy.sums import integers, mean_of
from convcli.kernel.model import Combine
from convcli.kernel.separable import separable_terms
from convcli.pixels.render import Rendering, Tally

TYPES = ("uint8", "int8", "uint16", "int16", "float32", "float64")  # in the order of `rows.h`, as those below
COMBINE = (Combine.NONE, Combine.MAGNITUDE, Combine.MAX, Combine.SUM)
DENSE, SEPARABLE, FOLD = range(3)
FLOATS, DOUBLES, SHORTS = range(3)
FOLDS = ("add", "maximum", "minimum")
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
    """

    weights: np.ndarray
    fields: dict[str, Any]
    terms: int = 0


def dense(call: Correlation) -> Form:
    """Return the sums over all taps."""
    return Form(call.weights, {"form": DENSE})


def integer(call: Correlation) -> Form:
    """Return the exact sums of integers with small integers, times the kernels' factor; quotients of means."""
    found = integers(call.weights)
    numbers = np.array([one.numbers for one in found], np.float64).reshape(call.weights.shape)
    fields = {"form": DENSE, **_scaled(found[0].divisor, found[0].factor)}
    unsigned = call.x.dtype == np.uint8
    short = call.x.itemsize == 1 and call.weights.dtype == np.float32
    if short and all(one.fits_16_bits(unsigned) for one in found):
        fields |= {"lanes": SHORTS, "with_sign": not unsigned or any(one.signed for one in found)}
    return Form(numbers, fields)


def separable(call: Correlation) -> Form:
    """Return the sums axis by axis; several outer products are added up."""
    terms = separable_terms(call.weights[0, 0])
    if terms is None:
        raise ValueError(f"a kernel of shape {call.weights.shape} is no sum of a few outer products")
    ones = [(1.0,)] * (3 - len(terms[0]))
    numbers = [value for term in terms for vector in (*ones, *term) for value in vector]
    return Form(np.array(numbers), {"form": SEPARABLE}, len(terms))


def box(call: Correlation) -> Form:
    """Return the sums of windows that share their parts, times the one weight; quotients of means."""
    return Form(call.weights, {"form": FOLD, **_scaled(mean_of(call.weights), call.weights.flat[0])})


def pool(call: Correlation, ufunc: str) -> Form:
    """Return the maxima, minima or sums of windows."""
    return Form(call.weights, {"form": FOLD, "fold": FOLDS.index(ufunc)})


def _scaled(divisor: int | None, factor: float) -> dict[str, float]:
    return {"scale": DIVIDED_BY, "factor": divisor} if divisor else {"scale": TIMES, "factor": factor}


def correlate(call: Correlation, form: Callable[[Correlation], Form]) -> np.ndarray:
    """Return the correlation, ``(N, O, *sizes)``; in ``call.out`` if it can."""
    if call.groups == 1:
        return _run(call, form(call), None, call.out)[0]
    inputs, outputs = call.weights.shape[1], len(call.weights) // call.groups
    parts = []
    for group in range(call.groups):
        x = call.x[:, group * inputs : (group + 1) * inputs]
        weights = call.weights[group * outputs : (group + 1) * outputs]
        parts.append(correlate(replace(call, x=x, weights=weights, groups=1, out=None), form))
    return np.concatenate(parts, axis=1)


def pixels(
    call: Correlation, form: Callable[[Correlation], Form], how: Rendering, out: np.ndarray | None
) -> tuple[np.ndarray, Tally]:
    """Return the correlation as pixels, with its bias and its maps combined; in ``out`` if it can."""
    return _run(call, form(call), how, out)


def _run(
    call: Correlation, form: Form, how: Rendering | None, out: np.ndarray | None
) -> tuple[np.ndarray, Tally]:
    """Run the loops over all of a call."""
    x, maps = call.x, len(call.weights)
    pixel = tiles.pixel_size(x)
    if pixel == 1 and x.strides[-1] != x.itemsize:
        x = np.ascontiguousarray(x)
    dtype = call.weights.dtype if how is None else np.dtype(how.dtype)
    outputs = 1 if call.combine is not Combine.NONE else maps
    out = _place(out, (len(x), outputs, *call.sizes), pixel, dtype)
    weights = np.ascontiguousarray(form.weights, np.float64)
    bias = np.array(call.bias, np.float64)
    ones = (1,) * (3 - len(call.sizes))
    whole = (*ones, *call.sizes)
    job = Job(
        weights=weights.ctypes.data,
        bias=bias.ctypes.data if bias.any() else None,
        x_type=TYPES.index(x.dtype.name),
        y_type=TYPES.index(dtype.name),
        maps=form.terms or maps,
        channels=x.shape[1],
        kernel=(*ones, *call.weights.shape[2:]),
        stride=(*ones, *call.stride),
        dilation=(*ones, *call.dilation),
        pixel=pixel,
        x_channel=x.strides[1],
        y_map=out.strides[1],
        finite=call.finite,
        combine=COMBINE.index(Combine.SUM if form.terms > 1 else call.combine),
        **{"lanes": DOUBLES if call.weights.dtype == np.float64 else FLOATS, **form.fields},
    )
    for name, array in (("x", x), ("y", out)):
        steps = [0] * 3 + list(array.strides[2:-1])
        for axis, step in zip(("item", "z", "y"), (array.strides[0], *steps[-2:]), strict=True):
            setattr(job, f"{name}_{axis}", step)
    if how is not None:
        job.is_rendered, job.is_absolute, job.fits = True, how.absolute, how.fits
        job.anchor, job.width, job.times, job.offset = how.anchor, how.width, how.scale, how.offset
        job.low, job.top = how.low, how.top
    jobs = [_part(job, x, out, part) for part in _parts((len(x) // pixel, *whole), call.threads)]
    loops = library.loops()
    assert loops is not None
    tiles.run(loops.run, jobs, call.threads, out.size * weights.size)
    return out, Tally(out.size, sum(one.clipped for one in jobs), sum(one.nans for one in jobs))


def _place(out: np.ndarray | None, shape: tuple[int, ...], pixel: int, dtype: np.dtype) -> np.ndarray:
    """Return ``out`` where it can be filled by rows, else a new array; pixels stay interleaved."""
    if out is not None and out.dtype == dtype and out.shape == shape:
        beside = out.strides[0] == out.itemsize if pixel > 1 else True
        if beside and out.strides[-1] == pixel * out.itemsize:
            return out
    items, *others = shape
    if pixel == 1:
        return np.empty(shape, dtype)
    return np.moveaxis(np.empty((*others, items), dtype), -1, 0)


def _parts(shape: tuple[int, ...], threads: int) -> list[tuple[slice, ...]]:
    """Cut (items, z, y, x) of the output for the threads, along the first axis that is long enough."""
    axis = next((i for i, n in enumerate(shape) if n >= 8 * threads), int(np.argmax(shape)))
    step = tiles.even(shape[axis], -(-shape[axis] // threads))
    whole = [slice(0, n) for n in shape]
    return [
        (*whole[:axis], slice(start, min(start + step, shape[axis])), *whole[axis + 1 :])
        for start in range(0, shape[axis], step)
    ]


def _part(job: Job, x: np.ndarray, out: np.ndarray, part: tuple[slice, ...]) -> Job:
    """Return the job of a part of the outputs."""
    mine = Job.from_buffer_copy(job)
    first = [piece.start for piece in part]
    steps = [1, *job.stride]
    pixel = job.pixel
    inputs = (job.x_item, job.x_z, job.x_y, pixel * x.itemsize)
    outputs = (job.y_item, job.y_z, job.y_y, pixel * out.itemsize)
    mine.x = x.ctypes.data + sum(map(prod, zip(first, steps, inputs, strict=True)))
    mine.y = out.ctypes.data + sum(map(prod, zip(first, outputs, strict=True)))
    mine.items, *sizes = (piece.stop - piece.start for piece in part)
    mine.size = tuple(sizes)
    return mine
