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
from convcli.cli.shared.opened import Opened, read_whole
from convcli.cli.shared.outputs import write_whole
from convcli.common import Missing, UsageError, frozen_identity
from convcli.data.info import SPACE, ArraySource, Info
from convcli.execution.pipeline import by_definition, plain_job
from convcli.explanations.matrix import Matrix, convolution_matrix
from convcli.geometry.layers import format_size
from convcli.geometry.padding import PaddingName
from convcli.jobs.bind import Settings, bind
from convcli.jobs.chain import Chain, ConvStage
from convcli.jobs.job import Job, positions
from convcli.jobs.missing import Gaps
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
    matrix, job, array = _with_gaps(request.gaps, chain, matrix, array)
    verdict = None if array is None else _compare(matrix, job, array)
    if request.output is not None:
        _write(request, matrix, request.output)
    return Made(matrix, verdict, request.output)


def _with_gaps(
    gaps: Gaps, chain: Chain, matrix: Matrix, given: np.ndarray | None
) -> tuple[Matrix, Job, np.ndarray | None]:
    """Return the matrix for the samples that are there, the job of ``filter``, and the numbers with their gaps."""
    source = ArraySource(np.zeros(matrix.inputs) if given is None else given, f"C{chain.letters}")
    array = Opened(source).masked(gaps.mask).whole()
    policy = gaps.missing or (Missing.PROPAGATE if gaps.mask is None else Missing.KEEP)
    job = plain_job(chain, array, "float64", missing=policy, min_weight=gaps.min_weight)
    job.check()
    missing, stage = np.isnan(array), chain.stages[0]
    if isinstance(stage, ConvStage) and policy.skips and not job.unskippable and missing.any():
        gone = np.zeros((1, *chain.output), bool)
        if policy is Missing.KEEP:
            gone = missing.all(axis=0, keepdims=True) if stage.summed else missing
            for axis in range(len(chain.letters)):
                places = positions(chain, axis)
                shape = [-1 if one == axis + 1 else 1 for one in range(gone.ndim)]
                gone = gone.take(np.maximum(places, 0), axis + 1) & (places >= 0).reshape(shape)
        gone = np.tile(gone, (matrix.outputs[0] // len(gone), *(1,) * len(chain.letters)))
        matrix = matrix.skipping(missing, gone, stage, gaps.min_weight)
    return matrix, job, None if given is None else array


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


def _compare(matrix: Matrix, job: Job, array: np.ndarray) -> Verdict:
    product = matrix.times(array).ravel()
    filtered = by_definition(job, array).ravel()
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
