"""Make a matrix and hand it over: print, write, verify.  No arithmetic but the comparison with `filter`'s."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import IO, Any

import numpy as np

from convcli.cli.matrix.request import Request
from convcli.cli.matrix.text import WIDTH, facts, layout
from convcli.cli.shared import report
from convcli.cli.shared.whole import read_kernel, read_whole
from convcli.common.errors import ConvError, UsageError
from convcli.common.frozen import frozen_identity
from convcli.common.numbers import number_text
from convcli.data.info import SPACE, Colour, Info
from convcli.execution.pipeline import reference
from convcli.explanations.matrix import Matrix, convolution_matrix
from convcli.geometry.layers import format_size
from convcli.geometry.padding import PaddingName
from convcli.jobs.bind import Settings, bind
from convcli.jobs.chain import Chain, ConvStage
from convcli.kernel.model import Kernel
from convcli.media import registry
from convcli.media.files.target import STANDARD, check_not_input, output
from convcli.media.options import ReadOptions, WriteOptions

SPARSE = ".npz"
MOST_DENSE = 25_000_000  # numbers of a table or an array, zeros among them
MOST_LISTED = 10_000  # numbers of a matrix in JSON
MOST_PRINTED = 16  # numbers of a vector in text


@frozen_identity
class Verdict:
    """The product of matrix and input beside what ``filter`` computes, both as vectors."""

    x: np.ndarray
    product: np.ndarray
    filtered: np.ndarray
    bound: float

    @property
    def difference(self) -> float:
        return float(np.abs(self.product - self.filtered).max())

    @property
    def holds(self) -> bool:
        """Whether they are equal up to the rounding of sums in another order."""
        return self.difference <= self.bound


def make(request: Request) -> None:
    """Do all that the command line asks for."""
    rank = len(request.size[1]) if request.size else 2
    kernel = read_kernel(request.kernel, min(rank, 2), numbers=True)
    array = _array(request, kernel)
    channels, sizes = (request.size or (None, ())) if array is None else (array.shape[0], array.shape[1:])
    chain = bind([kernel], _settings(request.settings, kernel), SPACE[-len(sizes) :], sizes, channels or 1)
    stage = chain.stages[0]
    if not isinstance(stage, ConvStage) or len(chain.stages) > 1:
        raise UsageError("it asks for a pool, which is not linear: no matrix does that", subject=kernel.title)
    matrix = convolution_matrix(stage, sizes, channels or 1)
    verdict = None if array is None else _compare(matrix, chain, array)
    if request.output is not None:
        _write(request, matrix, request.output)
    if request.json:
        report.print_json(_described(matrix, verdict), to_stderr=request.output == STANDARD)
    else:
        _print(request, matrix, verdict)
    if verdict is not None and not verdict.holds:
        raise ConvError(
            f"the matrix and the convolution differ by {verdict.difference:.3g}: please report it"
        )


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
    array = read_whole(request.verify, ReadOptions(matrix=rank > 1)).array.astype(np.float64)
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
    bound = float(sizes.max() * (taps + 2) * 2 * np.finfo(np.float64).eps)
    return Verdict(array.ravel(), product, filtered, bound)


def _print(request: Request, matrix: Matrix, verdict: Verdict | None) -> None:
    say = report.note if request.output == STANDARD else print  # where data are, words are not
    if not request.messages.quiet:
        say(facts(matrix))
    if request.output is None:
        lines = layout(matrix)
        for line in lines:
            print(line)
        if not lines and not request.messages.quiet:
            report.note(f"too large for {WIDTH} columns: -o W.png shows it, -o W.npz or W.csv keeps it")
    elif not request.messages.quiet and request.output != STANDARD:
        print(request.output)
    if verdict is not None and verdict.holds:
        say(f"vec(X)      = {_vector(verdict.x)}")
        say(f"W vec(X)    = {_vector(verdict.product)}")
        say(f"convolution = {_vector(verdict.filtered)}")
        say(f"equal: the largest difference is {verdict.difference:.3g}")


def _vector(values: np.ndarray) -> str:
    text = " ".join(number_text(value) for value in values[:MOST_PRINTED].tolist())
    return text + (f" … ({len(values)} numbers)" if len(values) > MOST_PRINTED else "")


def _described(matrix: Matrix, verdict: Verdict | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "shape": matrix.shape,
        "inputs": matrix.inputs,
        "outputs": matrix.outputs,
        "entries": len(matrix.values),
        "structure": matrix.structure,
        "blocks": matrix.blocks,
    }
    if matrix.shape[0] * matrix.shape[1] <= MOST_LISTED:
        facts |= {"matrix": matrix.dense().tolist(), "offset": matrix.offset.tolist()}
    if verdict is not None:
        facts["verify"] = {"equal": verdict.holds, "difference": verdict.difference}
    return facts


def _write(request: Request, matrix: Matrix, path: str) -> None:
    suffix = PurePath(path).suffix.lower()
    if request.verify is not None and not request.force:
        check_not_input(path, [request.verify])
    if suffix == SPARSE:
        with output(path, force=request.force) as fp:
            _write_sparse(matrix, fp)
        if matrix.offset.any() and not request.messages.quiet:
            report.note("bias and constant padding are not part of the matrix; --json lists them as offset")
        return
    format = registry.by_name("csv") if path == STANDARD else registry.by_suffix(path)
    if format.numbers:
        _check_dense(matrix, path)
        pixels = matrix.dense()
        info = Info.of("YX", pixels.shape, "float64")
    else:
        from convcli.explanations.matrix_drawing import draw

        pixels = draw(matrix)
        info = Info.of("YXC", pixels.shape, "uint8", Colour.RGB)
    with output(path, force=request.force, binary=format.binary, seeks=format.seeks) as fp:
        sink = registry.open_sink(fp, format, info, WriteOptions())
        sink.write(pixels)
        sink.close()


def _check_dense(matrix: Matrix, path: str) -> None:
    rows, columns = matrix.shape
    if rows * columns > MOST_DENSE:
        raise UsageError(
            f"{path!r} would hold {rows} x {columns} numbers, nearly all of them 0: write {SPARSE}, or a picture"
        )


def _write_sparse(matrix: Matrix, fp: IO[bytes]) -> None:
    """Write what `scipy.sparse.load_npz` reads as compressed sparse rows."""
    data, indices, indptr = matrix.csr()
    np.savez_compressed(
        fp, indices=indices, indptr=indptr, format=np.array(b"csr"), shape=np.array(matrix.shape), data=data
    )
