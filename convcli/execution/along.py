"""What becomes of signals before a chain: weighted means by the samples' real distances, and spectrograms.

A spectrogram is a bank of oscillations under a window, slid along signals with a stride, by FFT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from math import ceil, floor

import numpy as np

from convcli.common import (
    Missing,
    UsageError,
    parse_choice,
    parse_number,
    quoted,
    split_unit,
    to_float,
    within,
)
from convcli.common.budget import check_memory, check_padding
from convcli.data.axes import AS_ROWS, UNCLEAR, Axis, Even, Listed
from convcli.data.box import Box, slices
from convcli.data.info import ITEMS, KEPT, ArraySource, Boxes, Companions, Info, Source, channels_first
from convcli.data.units import NO_UNIT, UNITS, converted, samples, spacing
from convcli.geometry.padding import Padding, PaddingName
from convcli.geometry.windows import window as window_of
from convcli.kernel.parametric import FORMULAS, Formula, given
from convcli.pixels.channels import white_of

Weight = Callable[[np.ndarray, float], np.ndarray]
# How far they reach, of their width, and the weights of distances
_KINDS: Mapping[str, tuple[Fraction, Weight]] = {
    "box": (Fraction(1, 2), lambda distances, width: np.ones(len(distances))),
    "gaussian": (Fraction(4), lambda distances, sigma: np.exp(-0.5 * (distances / sigma) ** 2)),
}
_PAIRS = 1 << 20  # of an output and a sample, that are weighed at a time

_FORM = Formula("stft:25ms,hop=10ms,window=hann", {"length": "", "hop": "", "window": "hann"}, NotImplemented)
_COSINES = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08), "boxcar": (1.0,)}
_BLOCK = 1 << 21  # samples that are transformed at a time


def _count(text: str, what: str, least: int, axis: Axis) -> int:
    amount = split_unit(text)
    count = min(round(samples(*amount, axis) if amount else parse_number(text, what)), 10**9)
    if not least <= count <= 1 << 24:
        raise UsageError(f"{what} {text} is {float(count):.6g} samples: give {least} to {1 << 24}")
    return count


def _window(name: str, length: int) -> np.ndarray:
    """Return a window, periodic, its sum 1: a sine of amplitude 1 has the magnitude 1/2."""
    turns = 2 * np.pi * np.arange(length) / length
    waves = [(-1) ** k * part * np.cos(k * turns) for k, part in enumerate(_COSINES[name])]
    found: np.ndarray = np.sum(waves, axis=0)
    return found / found.sum()


class Spectrogram(Boxes):
    """The magnitudes of short-time transforms of signals: axes (C), Y (frequencies), X (times of the windows' middles).

    Zeros lie outside the signal.  The values are those of ``scipy.signal.ShortTimeFFT`` with ``scale_to="magnitude"``,
    by default at the slices from 0 on; whole numbers of sounds are divided by their full scale.

    Parameters
    ----------
    source : Source
        Signals along X; it stays its owner's.
    text : str
        ``stft:LENGTH,hop=HOP,window=NAME``, in samples or in units; the hop is half the length by default.
    falling : bool
        Whether the highest frequency comes first, as in pictures.
    padding : Padding
        As for any kernel whose origin is the sample ``LENGTH // 2``.
    """

    grain = KEPT

    def __init__(
        self, source: Source, text: str, *, falling: bool = False, padding: Padding = PaddingName.SAME
    ) -> None:
        info, self.later = source.info, source.later
        if set(info.letters) - set("XC") or ITEMS in info.letters:
            letters = ", ".join(info.letters.lower())
            raise UsageError(f"a spectrogram is one of signals along x, and the data has the axes {letters}")
        if falling and info.channels > 1:
            raise UsageError("a picture shows the spectrogram of one channel: write .npy")
        axis = info.axis("X")
        with within(f"kernel {quoted(text)}"):
            found = {**_FORM.parameters, **given(_FORM, text.partition(":")[2].split(","))}
            window = parse_choice(_COSINES, found["window"], "window")
            length = _count(found["length"], "length", 2, axis)
            hop = _count(found["hop"], "hop", 1, axis) if found["hop"] else max(length // 2, 1)
            self._window = window_of(axis.size, length, stride=hop, padding=padding, origin=length // 2)
            columns, rows = self._window.output_size(axis.size), length // 2 + 1
            check_padding(self._window.full_size(axis.size), axis.size)
        self.told = f"stft:{length},hop={hop},window={window}"
        self._source, self._falling = source, falling
        kind = np.dtype(info.dtype)
        full = white_of(info) + 1 if kind.kind == "i" and kind.itemsize < 8 else 1.0
        self._taps = _window(window, length) / full
        frequencies = Axis("Y", rows, _frequencies(axis, length, rows, falling))
        axes = (frequencies, axis.along(Fraction(length // 2 - self._window.before), Fraction(hop), columns))
        channels = (info.axis("C"),) if "C" in info.letters else ()
        dtype = "float64" if kind.itemsize > 4 or kind.name == "int32" else "float32"
        self.info = Info((*channels, *axes), dtype, notes=info.notes)
        check_memory(f"a spectrogram of {rows} frequencies at {columns} times", self.info.bytes)

    def read(self, box: Box) -> np.ndarray:
        found = self._values[(slice(None), *slices(box))]
        return found if "C" in self.info.letters else found[0]

    @cached_property
    def _values(self) -> np.ndarray:
        """All of it, (C, Y, X)."""
        length, hop, n = len(self._taps), self._window.stride, self._source.info.size("X")
        made = np.empty((self._source.info.channels, *map(self.info.size, "YX")), self.info.dtype)
        step = max(1, _BLOCK // max(length, hop))
        for first in range(0, made.shape[2], step):
            last = min(first + step, made.shape[2])
            start, stop = self._window.input_range(first, last)
            low, high = np.clip((start, stop), 0, n).tolist()
            part = np.zeros((len(made), stop - start))
            if low < high:
                part[:, low - start : high - start] = channels_first(self._source, "X", ((low, high),))
            windows = np.lib.stride_tricks.sliding_window_view(part, length, axis=1)[:, ::hop]
            made[:, :, first:last] = np.abs(np.fft.rfft(windows * self._taps)).swapaxes(1, 2)
        return made[:, ::-1] if self._falling else made


def _frequencies(axis: Axis, length: int, rows: int, falling: bool) -> Even | None:
    """Return where the frequencies of transforms of so many samples lie; times without a unit are seconds."""
    if axis.positions is None:
        return None
    step, (measure, each) = spacing(axis.positions), UNITS.get(axis.positions.unit or "s", ("", Fraction(1)))
    if step is None or measure != "time":
        raise UsageError("a spectrogram is one of samples that are evenly spaced in time, and these are not")
    apart = 1 / (step * each * length)
    return Even(apart * (rows - 1) * falling, -apart if falling else apart, "Hz")


def along(
    source: Source, texts: Sequence[str], missing: Missing, companions: Companions | None, counts: bool
) -> ArraySource:
    """Return signals along X smoothed by kernels in units of their positions, in turn; the weights' sums are 1.

    ``box:W`` takes the samples later than W/2 before an output and not later than W/2 behind it, as
    ``pandas.DataFrame.rolling(W, center=True)`` does; ``gaussian:sigma=S`` those within 4 S.

    Parameters
    ----------
    source : Source
        A table with times.
    texts : sequence of str
    missing : Missing
        With ``error`` missing samples stay missing in their own rows alone: what follows names the first.
    companions : Companions, optional
        Of the result.
    counts : bool
        Whether a channel follows for each channel: how many samples are behind a value of the last kernel.

    Raises
    ------
    UsageError
        For data without such positions, and other kernels.
    """
    info = source.info
    axis = info.axis("X") if not set(info.letters) - set("XC") else None
    if axis is None or not isinstance(axis.positions, Listed):
        hint = "".join(f"; {line}" for line in info.notes if line.startswith(UNCLEAR))
        if axis is not None and axis.positions is not None:
            hint = "; evenly spaced samples take units without it"
        raise UsageError(
            f"--along time is for tables with a column of increasing times, numbers or 2024-03-01T10:00:05{hint}"
        )
    widths = [_width(text, axis) for text in texts]
    values = channels_first(source, "X", info.box).astype(np.float64)
    first = axis.positions.ticks[0] or 0
    ticks = np.array([(tick or 0) - first for tick in axis.positions.ticks])
    numbers = np.zeros(values.shape)
    with np.errstate(invalid="ignore"):
        for name, width in widths:
            values, numbers = _smoothed(values, ticks, axis.positions.tick, name, width, missing)
    found = np.concatenate((values, numbers) if counts else (values,))
    found = found.T if len(found) > 1 else found[0]
    axes = (axis, Axis("C", found.shape[-1]))[: found.ndim]
    found = found.astype("float32" if info.dtype == "float32" else "float64")
    notes = tuple(line for line in info.notes if not line.endswith(AS_ROWS))
    notes += (NO_UNIT,) * (not axis.positions.unit)
    form = replace(info, axes=axes, dtype=found.dtype.name, companions=companions, notes=notes)
    return ArraySource(found, form)


def _width(text: str, axis: Axis) -> tuple[str, Fraction]:
    """Return which kernel a text means, and its size in the unit of an axis."""
    name, _, rest = text.strip().partition(":")
    with within(f"kernel {quoted(text)}"):
        values = list(given(FORMULAS[name], rest.split(",")).values()) if name in _KINDS and rest else []
        amount = split_unit(values[0]) if len(values) == 1 else None
        if amount is None:
            raise UsageError("--along time takes kernels in a unit of time: box:5s, gaussian:sigma=2s")
        width = converted(*amount, axis)
        if width <= 0:
            raise UsageError(f"{values[0]} is not possible: give more than 0")
    return name, width


def _smoothed(
    values: np.ndarray, ticks: np.ndarray, tick: Fraction, name: str, width: Fraction, missing: Missing
) -> tuple[np.ndarray, np.ndarray]:
    """Return means (C, X), and how many samples each has."""
    (part, weigh), n = _KINDS[name], len(ticks)
    reach = min(part * width / tick, Fraction(int(ticks[-1]) + 1))
    before = floor(-reach) + 1 if name == "box" else ceil(-reach)
    starts = np.searchsorted(ticks, ticks + before, "left")
    sizes = np.searchsorted(ticks, ticks + floor(reach), "right") - starts
    means, counts = np.empty(values.shape), np.empty(values.shape)
    ends, first = np.cumsum(sizes), 0
    while first < n:
        last = max(int(np.searchsorted(ends, (ends[first - 1] if first else 0) + _PAIRS, "right")), first + 1)
        size, begin = sizes[first:last], np.cumsum(sizes[first:last]) - sizes[first:last]
        taken = np.repeat(starts[first:last] - begin, size) + np.arange(size.sum())
        distances = (ticks[taken] - np.repeat(ticks[first:last], size)).astype(np.float64) * float(tick)
        found, weights = values[:, taken], weigh(distances, to_float(width))
        there = ~np.isnan(found)
        if missing is not Missing.PROPAGATE:
            found, weights = np.where(there, found, 0), weights * there
        sums = np.add.reduceat(np.broadcast_to(weights, found.shape), begin, axis=1)
        means[:, first:last] = np.add.reduceat(weights * found, begin, axis=1) / sums
        counts[:, first:last] = np.add.reduceat(there, begin, axis=1, dtype=np.float64)
        first = last
    if missing in (Missing.KEEP, Missing.ERROR):
        means[np.isnan(values)] = np.nan
    return means, counts
