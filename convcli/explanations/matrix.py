"""The convolution as a matrix: y = W vec(x) + offset, sparse and exact.

Every tap of every output is one entry: its row is the output, its column the input that stands under the tap,
its value the weight.  Strides leave rows out, padding modes that repeat the data add entries up, a transposed
convolution gives Wᵀ of the convolution it undoes.  Drawn, orange is positive, blue
negative, and lines part the blocks.  No files, no text, no scipy.

Rows and columns count (channel, space…) in C order, as ``numpy.ravel`` does.  Toeplitz and doubly blocked
circulant matrices: R. M. Gray, "Toeplitz and circulant matrices: a review" (2006).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import product
from math import prod

import numpy as np

from convcli.common import UsageError, frozen_identity, number_text
from convcli.geometry.padding import PaddingName
from convcli.geometry.windows import TransposedWindow, axis_taps
from convcli.jobs.bind import Settings
from convcli.jobs.chain import ConvStage
from convcli.jobs.missing import SLACK
from convcli.kernel import Combine, Kernel
from convcli.pixels.colours import INK, PAPER, font

SMALL = 1e-14  # of the weights: rounding
MOST = 12_000_000  # entries; sorting them takes about 100 bytes each


class Structure(StrEnum):
    """What kind of matrix it is, along its blocks too."""

    TOEPLITZ = "Toeplitz"  # equal along each diagonal
    CIRCULANT = "circulant"  # the same, and each row is the one above, turned
    BANDED = "banded"  # a stride moves each row (transposed: each column) by more than one
    SKIPPING = "matrix, each row divided by the share of its weights that is present"
    BORDERED = "Toeplitz but for the border rows"  # where the padding repeats elements of the data


@frozen_identity
class Matrix:
    """A sparse matrix: entries in the order of rows, then columns, none twice.

    Attributes
    ----------
    rows, columns : ndarray of int64
    values : ndarray of float64
        Zeros are entries too where a weight of zero stands.
    offset : ndarray of float64
        What is added to each row: the bias, and constant padding.
    inputs, outputs : tuple of int
        (channels, *space) of the vectors' arrays.
    structure : Structure
    """

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    offset: np.ndarray
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    structure: Structure

    @property
    def shape(self) -> tuple[int, int]:
        return prod(self.outputs), prod(self.inputs)

    @property
    def blocks(self) -> tuple[int, int]:
        """Rows and columns of the smallest blocks: one row of the image each."""
        return self.outputs[-1], self.inputs[-1]

    @property
    def levels(self) -> int:
        """How many times it is blocked: 1 for a signal, 2 for an image, 3 for a volume."""
        return len(self.inputs) - 1

    def dense(self) -> np.ndarray:
        """Return all of it, float64."""
        full = np.zeros(self.shape)
        full[self.rows, self.columns] = self.values
        return full

    def times(self, x: np.ndarray) -> np.ndarray:
        """Return W vec(x) + offset for an array of the shape ``inputs``, in the shape ``outputs``."""
        if x.shape != self.inputs:
            raise UsageError(f"the matrix takes an array of {self.inputs}, not of {x.shape}")
        products = self.values * x.astype(np.float64).ravel()[self.columns]
        sums = np.bincount(self.rows, weights=products, minlength=self.shape[0])
        return (sums + self.offset).reshape(self.outputs)

    def skipping(
        self, missing: np.ndarray, gone: np.ndarray, stage: ConvStage, min_weight: float
    ) -> "Matrix":
        """Return the matrix of normalised convolution: missing inputs are left out, the others' weights renormalised.

        Parameters
        ----------
        missing : ndarray of bool
            Which inputs are, in the shape ``inputs``.
        gone : ndarray of bool
            Which outputs are missing all the same, in the shape ``outputs``.
        stage : ConvStage
            Whose matrix it is.
        min_weight : float
            Share of the weights that must be present; outputs with less have an offset of NaN and no entries.
        """
        count = self.shape[0]
        kernel = stage.kernel
        if kernel.combine is Combine.SUM:
            raise UsageError(
                "each of the outputs that it adds up has a share of its own: no matrix", subject=kernel.title
            )
        own = (np.array(kernel.rows).sum(axis=1), np.array(kernel.bias))
        totals, added = (np.repeat(one, count // len(one)) for one in own)
        held = ~missing.ravel()[self.columns]
        mass, kept = (np.bincount(self.rows, self.values * part, count) for part in (1.0, held))
        present = kept + (totals - mass)  # constant padding is there
        present[present <= SMALL * totals] = 0
        enough = (present > 0) & (present >= (min_weight - SLACK) * totals) & ~gone.ravel()
        factor = np.divide(totals, present, out=np.full(count, np.nan), where=enough)
        stays = held & enough[self.rows]
        rows = self.rows[stays]
        return replace(
            self,
            rows=rows,
            columns=self.columns[stays],
            values=self.values[stays] * factor[rows],
            offset=(self.offset - added) * factor + added,
            structure=Structure.SKIPPING,
        )

    def csr(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return data, indices and indptr of the compressed sparse rows, zeros left out."""
        kept = self.values != 0
        counts = np.bincount(self.rows[kept], minlength=self.shape[0])
        kind = np.int32 if max(*self.shape, len(self.values)) < 2**31 else np.int64
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(kind)
        return self.values[kept], self.columns[kept].astype(kind), indptr


def convolution_matrix(
    stage: ConvStage,
    sizes: Sequence[int],
    channels: int,
    check: Callable[[tuple[int, int]], None] = lambda shape: None,
) -> Matrix:
    """Return the matrix of one bound kernel.

    Parameters
    ----------
    stage : ConvStage
        From `convcli.jobs.bind.bind`: windows, padding mode, weights.
    sizes : sequence of int
        Space sizes of the input.
    channels : int
        Its channels.  A kernel with one input is applied to each of them alone.
    check : callable
        Refuses a shape of the matrix, before its entries are made.

    Raises
    ------
    UsageError
        For a bank that is combined by magnitude or maximum, which no matrix does; for too many entries.
    """
    kernel = stage.kernel
    weights = kernel.array().reshape(stage.weight_shape)
    bias = np.array(kernel.bias)
    if kernel.combine is Combine.SUM:
        weights, bias = weights.sum(axis=0, keepdims=True), bias.sum(keepdims=True)
    elif kernel.combine is not Combine.NONE:
        raise UsageError(
            f"it combines its outputs by {kernel.combine}, which is not linear: no matrix does that; "
            "give one of its kernels alone",
            subject=kernel.title,
        )
    weights = weights.reshape(*weights.shape[:2], -1)  # (out, in, taps)
    outputs = tuple(window.output_size(n) for window, n in zip(stage.windows, sizes, strict=True))
    places = prod(sizes) if stage.transposed else prod(outputs)
    _check_entries(places * weights.shape[0] * weights.shape[2] * channels)

    maps, together = range(weights.shape[0]), stage.summed or channels == 1
    # Which plane of rows and which of columns an output's and an input's weights are.
    pairs = [
        (out, channel, out, channel) if together else (out * channels + channel, channel, out, 0)
        for out, channel in product(maps, range(channels))
    ]
    planes = 1 + max(row for row, _, _, _ in pairs)
    check((planes * prod(outputs), channels * prod(sizes)))
    place, source, tap, times = _entries(stage, sizes, outputs)
    offset = np.repeat(bias, planes // len(bias))[:, None] + np.zeros(prod(outputs))
    filled, inside = source < 0, source >= 0
    for row, _, out, channel in pairs if stage.value else ():
        taps = weights[out, channel][tap[filled]]
        offset[row] += stage.value * np.bincount(place[filled], taps, prod(outputs))
    place, source, tap, times = place[inside], source[inside], tap[inside], times[inside]
    rows = np.concatenate([row * prod(outputs) + place for row, _, _, _ in pairs])
    columns = np.concatenate([column * prod(sizes) + source for _, column, _, _ in pairs])
    values = np.concatenate([weights[out, channel][tap] * times for _, _, out, channel in pairs])
    order = np.lexsort((columns, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    new = np.ones(len(rows), bool)  # several taps may meet one input, where the padding repeats it
    new[1:] = (np.diff(rows) != 0) | (np.diff(columns) != 0)
    first = np.flatnonzero(new)
    return Matrix(
        rows[first],
        columns[first],
        np.add.reduceat(values, first) if len(first) else values,
        offset.ravel(),
        (channels, *sizes),
        (planes, *outputs),
        _structure(stage, sizes, outputs),
    )


def unpadded(settings: Settings, kernel: Kernel) -> Settings:
    """Fill in the default of a matrix: nothing outside, unless a mode or the kernel itself asks for padding."""
    moded = settings.pad_mode is not None or settings.pad_value is not None
    if settings.padding is None and moded and not settings.transposed:
        return replace(settings, padding=(PaddingName.SAME,))
    silent = settings.padding is None and kernel.defaults.padding is None
    return replace(settings, padding=((0, 0),)) if silent else settings


def _check_entries(count: int) -> None:
    if count > MOST:
        raise UsageError(f"the matrix would have {count:,} entries, more than {MOST:,}: give a smaller input")


def _entries(
    stage: ConvStage, sizes: Sequence[int], outputs: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return output, input (-1: the fill value), tap and the padding's factor of every entry, all axes together."""
    place = source = tap = np.zeros(1, np.int64)
    times = np.ones(1, np.int64)
    for window, n, count in zip(stage.windows, sizes, outputs, strict=True):
        found = [
            (output, from_, index, factor)
            for output in range(count)
            for index, _, sources in axis_taps(window, output, n, stage.mode)
            for from_, factor in sources or ((-1, 1),)
        ]
        own = np.array(found, np.int64).reshape(-1, 4)
        _check_entries(len(place) * len(own))  # several samples may stand under one tap
        inside = (source[:, None] >= 0) & (own[None, :, 1] >= 0)
        place = (place[:, None] * count + own[None, :, 0]).ravel()
        source = np.where(inside, source[:, None] * n + own[None, :, 1], -1).ravel()
        tap = (tap[:, None] * window.kernel + own[None, :, 2]).ravel()
        times = (times[:, None] * own[None, :, 3]).ravel()
    return place, source, tap, times


def _structure(stage: ConvStage, sizes: Sequence[int], outputs: Sequence[int]) -> Structure:
    moved = [stage.windows[axis] for axis in stage.axes]
    if any(window.stride != 1 for window in moved):
        return Structure.BANDED
    if stage.mode.fills or all(
        isinstance(window, TransposedWindow) or not (window.before or window.after) for window in moved
    ):
        return Structure.TOEPLITZ
    if stage.mode.periodic:
        square = all(sizes[axis] == outputs[axis] for axis in stage.axes)
        return Structure.CIRCULANT if square else Structure.TOEPLITZ
    return Structure.BORDERED


# The picture

SIDE = 1200  # pixels that the longer side takes, where the cells can be made so large
LARGEST, SMALLEST = 48, 26  # pixels of a cell with its number written in
EMPTY, ZERO, LINE = (246, 246, 244), (214, 214, 210), (120, 120, 120)
POSITIVE, NEGATIVE = (230, 97, 1), (33, 102, 172)


def draw(matrix: Matrix) -> np.ndarray:
    """Return the picture, (height, width, 3) of uint8.

    A matrix longer than `SIDE` is drawn smaller: a pixel shows the entry of largest size among its own.
    """
    rows, columns = matrix.shape
    longest = max(rows, columns)
    if longest > SIDE:
        return _colours(*_reduced(matrix, longest))
    cell = min(max(SIDE // longest, 1), LARGEST)
    values, taken = _grid(matrix, matrix.rows, matrix.columns, (rows, columns))
    picture = _colours(values, taken).repeat(cell, axis=0).repeat(cell, axis=1)
    if cell >= 4:
        high, wide = matrix.blocks
        picture[np.arange(cell, rows * cell, cell)] = PAPER
        picture[:, np.arange(cell, columns * cell, cell)] = PAPER
        picture[np.arange(high * cell, rows * cell, high * cell)] = LINE
        picture[:, np.arange(wide * cell, columns * cell, wide * cell)] = LINE
    return _with_numbers(picture, matrix, cell) if cell >= SMALLEST else picture


def _reduced(matrix: Matrix, longest: int) -> tuple[np.ndarray, np.ndarray]:
    shape = tuple(max(size * SIDE // longest, 1) for size in matrix.shape)
    rows, columns = (
        index * small // size
        for index, small, size in zip((matrix.rows, matrix.columns), shape, matrix.shape, strict=True)
    )
    return _grid(matrix, rows, columns, shape)


def _grid(
    matrix: Matrix, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return values on a grid, and where there are entries; of several the largest in size remains."""
    order = np.argsort(np.abs(matrix.values), kind="stable")
    values, taken = np.zeros(shape), np.zeros(shape, bool)
    values[rows[order], columns[order]] = matrix.values[order]
    taken[rows, columns] = True
    return values, taken


def _colours(values: np.ndarray, taken: np.ndarray) -> np.ndarray:
    strength = np.abs(values) / (np.abs(values).max(initial=0) or 1.0)
    strength = np.where(values != 0, 0.25 + 0.75 * strength, 0)[..., None]  # small weights stay visible
    full = np.where(values[..., None] > 0, np.array(POSITIVE), np.array(NEGATIVE))
    colours = np.array(PAPER) * (1 - strength) + full * strength
    colours[taken & (values == 0)] = ZERO
    colours[~taken] = EMPTY
    return colours.round().astype(np.uint8)


def _with_numbers(picture: np.ndarray, matrix: Matrix, cell: int) -> np.ndarray:
    from PIL import Image, ImageDraw

    texts = [number_text(value) for value in matrix.values.tolist()]
    size = min(cell // 2, int(cell * 1.6 / max(map(len, texts), default=1)))
    if size < 9:
        return picture
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for row, column, text in zip(matrix.rows.tolist(), matrix.columns.tolist(), texts, strict=True):
        middle = ((column + 0.5) * cell, (row + 0.5) * cell)
        dark = picture[row * cell + cell // 2, column * cell + cell // 2].astype(int).sum() < 400
        pen.text(middle, text, fill=PAPER if dark else INK, font=font(size), anchor="mm")
    return np.asarray(image)
