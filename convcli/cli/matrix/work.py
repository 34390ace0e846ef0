"""Make a matrix, write it, verify it: the result's facts are the JSON, its text is made in `text`.

No arithmetic but the comparison with `filter`'s.
"""

from dataclasses import replace
from functools import partial
from math import prod
from pathlib import PurePath
from typing import Any

import numpy as np

from convcli.cli.matrix.request import Request
from convcli.cli.shared.kernels import read_kernel
from convcli.cli.shared.opened import read_whole
from convcli.cli.shared.outputs import write_whole
from convcli.common import UsageError, frozen_identity
from convcli.data.info import SPACE, Info
from convcli.execution.pipeline import reference
from convcli.explanations.matrix import Matrix, convolution_matrix
from convcli.geometry.layers import format_size
from convcli.geometry.padding import PaddingName
from convcli.jobs.bind import Settings, bind
from convcli.jobs.chain import Chain, ConvStage
from convcli.kernel import Kernel
from convcli.media import registry
from convcli.media.files.target import STANDARD, check_not_input, output, shown

SPARSE = ".npz"
MOST_LISTED = 10_000  # numbers of a matrix in JSON


@frozen_identity
class Verdict:
    """The product of matrix and input beside what ``filter`` computes, both as vectors."""

    x: np.ndarray
    product: np.ndarray
    filtered: np.ndarray
    bound: float

    facts = ("equal", "difference")

    @property
    def difference(self) -> float:
        """The largest difference; NaN and infinity differ from all but themselves."""
        alike = (self.product == self.filtered) | (np.isnan(self.product) & np.isnan(self.filtered))
        with np.errstate(invalid="ignore"):
            gaps = np.where(alike, 0.0, np.abs(self.product - self.filtered))
        return float(np.nan_to_num(gaps, nan=np.inf).max())

    @property
    def equal(self) -> bool:
        """Whether they are equal up to the rounding of sums in another order."""
        return self.difference <= self.bound


@frozen_identity
class Made:
    """A matrix, whether it does what ``filter`` does, and where it was written."""

    matrix: Matrix
    verdict: Verdict | None
    path: str | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not in the file."""
        if self.path is None or PurePath(self.path).suffix.lower() != SPARSE or not self.matrix.offset.any():
            return ()
        return ("bias and constant padding are not part of the matrix; --json lists them as offset",)

    @property
    def facts(self) -> dict[str, Any]:
        matrix = self.matrix
        found = {name: getattr(matrix, name) for name in ("shape", "inputs", "outputs")}
        found |= {"entries": len(matrix.values), "structure": matrix.structure, "blocks": matrix.blocks}
        if prod(matrix.shape) <= MOST_LISTED:
            found |= {"matrix": matrix.dense(), "offset": matrix.offset}
        return found | {"notes": self.notes} | ({} if self.verdict is None else {"verify": self.verdict})


MOST_DENSE = 25_000_000  # numbers of a table or an array, zeros among them


def make(request: Request) -> Made:
    """Make the matrix, write it where a name was given, and compare it where numbers were."""
    rank = len(request.size[1]) if request.size else 2
    kernel = read_kernel(request.kernel, min(rank, 2), numbers=True)
    array = _array(request, kernel)
    channels, sizes = (request.size or (None, ())) if array is None else (array.shape[0], array.shape[1:])
    chain = bind([kernel], _settings(request.settings, kernel), SPACE[-len(sizes) :], sizes, channels or 1)
    stage = chain.stages[0]
    if not isinstance(stage, ConvStage) or len(chain.stages) > 1:
        raise UsageError("it asks for a pool, which is not linear: no matrix does that", subject=kernel.title)
    matrix = convolution_matrix(stage, sizes, channels or 1, partial(_check_dense, request.output))
    verdict = None if array is None else _compare(matrix, chain, array)
    if request.output is not None:
        _write(request, matrix, request.output)
    return Made(matrix, verdict, request.output)


def _settings(settings: Settings, kernel: Kernel) -> Settings:
    """Fill in this command's default: nothing outside, unless a mode or the kernel itself asks for padding."""
    moded = settings.pad_mode is not None or settings.pad_value is not None
    if settings.padding is None and moded and not settings.transposed:
        return replace(settings, padding=(PaddingName.SAME,))
    silent = settings.padding is None and kernel.defaults.padding is None
    return replace(settings, padding=((0, 0),)) if silent else settings


def _array(request: Request, kernel: Kernel) -> np.ndarray | None:
    """Read the numbers to verify with, (channels, *space)."""
    if request.verify is None:
        return None
    rank = len(request.size[1]) if request.size else kernel.rank
    read = read_whole(request.verify, replace(request.reading, matrix=rank > 1))
    read.check(request.reading, request.verify)
    array = read.whole().astype(np.float64)
    if request.size is not None and (request.size[0] or 1, *request.size[1]) != array.shape:
        found = format_size(array.shape[0] if array.shape[0] > 1 else None, array.shape[1:])
        raise UsageError(
            f"--input {format_size(*request.size)} and {request.verify!r}, which is {found}: they must agree, "
            "or leave --input out"
        )
    return array


def _compare(matrix: Matrix, chain: Chain, array: np.ndarray) -> Verdict:
    product = matrix.times(array).ravel()
    filtered = reference(chain, array, "float64").ravel()
    sizes = replace(matrix, values=np.abs(matrix.values), offset=np.abs(matrix.offset)).times(np.abs(array))
    taps = np.bincount(matrix.rows, minlength=1).max()
    bound = float(sizes[np.isfinite(sizes)].max(initial=0) * (taps + 2) * 2 * np.finfo(np.float64).eps)
    return Verdict(array.ravel(), product, filtered, bound)


def _check_dense(path: str | None, shape: tuple[int, int]) -> None:
    """Refuse a matrix that is too large for a file that holds its zeros, before it is made."""
    if path is None or PurePath(path).suffix.lower() == SPARSE:
        return
    if prod(shape) > MOST_DENSE and (path == STANDARD or registry.by_suffix(path).numbers):
        raise UsageError(
            f"it would hold {shape[0]} x {shape[1]} numbers, nearly all of them 0: write {SPARSE}, or a picture",
            subject=shown(path),
        )


def _write(request: Request, matrix: Matrix, path: str) -> None:
    suffix = PurePath(path).suffix.lower()
    inputs = [request.verify] if request.verify is not None else []
    if suffix == SPARSE:
        check_not_input(path, inputs, force=request.force)
        data, indices, indptr = matrix.csr()
        kind, shape = np.array(b"csr"), np.array(matrix.shape)  # as `scipy.sparse.load_npz` reads it
        with output(path, force=request.force) as fp:
            np.savez_compressed(fp, indices=indices, indptr=indptr, format=kind, shape=shape, data=data)
        return
    format = registry.by_name("csv") if path == STANDARD else registry.by_suffix(path)
    form = None
    if format.numbers:
        pixels = matrix.dense()
        form = Info.of("YX", pixels.shape, "float64")
    else:
        from convcli.explanations.matrix_drawing import draw

        pixels = draw(matrix)
    write_whole(path, pixels, force=request.force, inputs=inputs, format=format, form=form)
