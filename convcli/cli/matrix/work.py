"""Make a matrix, write it, verify it, and print it: whole with its blocks, or as a grid of named blocks.

The result's facts are the JSON.  No arithmetic but the comparison with `filter`'s.
"""

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import PurePath
from typing import Any

import numpy as np

from convcli.cli.matrix.request import Request
from convcli.cli.shared import report
from convcli.cli.shared.kernels import read_kernel
from convcli.cli.shared.opened import Opened, read_whole
from convcli.cli.shared.outputs import write_whole
from convcli.cli.shared.terminal import WIDTH
from convcli.common import ConvError, Missing, UsageError, decimal_text, frozen_identity, number_text
from convcli.data import SPACE, ArraySource, Info
from convcli.execution.pipeline import by_definition, plain_job
from convcli.explanations.matrix import Matrix, convolution_matrix, draw, unpadded
from convcli.geometry.layers import format_size
from convcli.jobs.bind import bind
from convcli.jobs.chain import Chain, ConvStage
from convcli.jobs.job import Job, positions
from convcli.jobs.missing import Gaps
from convcli.kernel import Kernel
from convcli.media import opening, registry
from convcli.media.files.target import STANDARD, output, shown

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
    """A matrix, whether it does what ``filter`` does, in which boxes the file is read, and where it was written.

    ``symbols`` are the entries' texts where weights are symbols.
    """

    matrix: Matrix
    verdict: Verdict | None
    grain: Mapping[str, Any] | None
    path: str | None
    symbols: Sequence[str] | None = None

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
            filled = matrix.dense() if self.symbols is None else _cells(matrix, self.symbols, "0")
            found |= {"matrix": filled, "offset": matrix.offset}
        found |= {} if self.verdict is None else {"verify": self.verdict, "grain": self.grain}
        return found | {"notes": self.notes}


MOST_DENSE = 25_000_000  # numbers of a table or an array, zeros among them


def make(request: Request) -> Made:
    """Make the matrix, write it where a name was given, and compare it where numbers were."""
    rank = len(request.size[1]) if request.size else 2
    symbols = _symbols(request.kernel)
    if symbols and (request.verify is not None or request.output is not None):
        raise UsageError(
            "symbols have no values: leave --verify and -o out, or give numbers", subject=repr(request.kernel)
        )
    kernel = read_kernel(symbols.pop(ALL, request.kernel), min(rank, 2), numbers=True).weighted()
    array, grain = _array(request, kernel)
    channels, sizes = (request.size or (None, ())) if array is None else (array.shape[0], array.shape[1:])
    chain = bind([kernel], unpadded(request.settings, kernel), SPACE[-len(sizes) :], sizes, channels or 1)
    stage = chain.stages[0]
    if not isinstance(stage, ConvStage) or len(chain.stages) > 1:
        raise UsageError("it asks for a pool, which is not linear: no matrix does that", subject=kernel.title)
    matrix = convolution_matrix(stage, sizes, channels or 1, partial(_check_dense, request.output))
    matrix, job, array = _with_gaps(request.gaps, chain, matrix, array)
    verdict = None if array is None else _compare(matrix, job, array)
    if request.output is not None:
        _write(request, matrix, request.output)
    texts = None
    if symbols and matrix.offset.any():
        raise UsageError(
            "constant padding adds symbols to the outputs: give numbers, or other padding",
            subject=repr(request.kernel),
        )
    if symbols:  # every kernel makes the same entries, and the matrix is linear in the weights
        own = (read_kernel(text, min(rank, 2), numbers=None) for text in symbols.values())
        parts = [_of_symbol(one, request, sizes, channels or 1) for one in own]
        texts = [_linear(dict(zip(symbols, each, strict=True))) for each in zip(*parts, strict=True)]
    return Made(matrix, verdict, grain, request.output, texts)


ALL, NUMBERS = "*", ""  # keys beside the symbols
NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?(/\d+)?"


def _symbols(text: str) -> dict[str, str]:
    """Return for each symbol of a kernel the kernel that is 1 where it stands; nothing where all are numbers.

    >>> _symbols("a,2;b,a")
    {'*': '1,2;1,1', 'a': '1,0;0,1', 'b': '0,0;1,0', '': '0,2;0,0'}
    """
    parts = re.split(r"([\s,;|]+)", text.strip())
    entries, between = parts[::2], [*parts[1::2], ""]
    names = [one for one in dict.fromkeys(entries) if re.fullmatch(r"[^\W\d]\w*", one)]
    others = (one for one in entries if one not in names)
    if not names or len(entries) == 1 or not all(re.fullmatch(NUMBER, one) for one in others):
        return {}

    def kernel(ones: Collection[str], numbers: bool) -> str:
        texts = (str(int(one in ones)) if one in names or not numbers else one for one in entries)
        return "".join(map(str.__add__, texts, between))

    return {
        ALL: kernel(names, True),
        **{name: kernel([name], False) for name in names},
        NUMBERS: kernel([], True),
    }


def _of_symbol(kernel: Kernel, request: Request, sizes: Sequence[int], channels: int) -> list[float]:
    chain = bind([kernel], unpadded(request.settings, kernel), SPACE[-len(sizes) :], sizes, channels)
    (stage,) = chain.stages
    assert isinstance(stage, ConvStage)
    return convolution_matrix(stage, sizes, channels).values.tolist()


def _linear(factors: Mapping[str, float]) -> str:
    """Write a sum of symbols and a number.

    >>> _linear({"a": 2.0, "b": -1.0, "": 0.0}), _linear({"a": 0.0, "": 3.0})
    ('2a-b', '3')
    """
    texts = [
        number_text(factor) + name if not name or abs(factor) != 1 else "-" * (factor < 0) + name
        for name, factor in factors.items()
        if factor
    ]
    return "+".join(texts).replace("+-", "-") or "0"


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


def _array(request: Request, kernel: Kernel) -> tuple[np.ndarray | None, Mapping[str, Any] | None]:
    """Read the numbers to verify with, (channels, *space); return also in which boxes."""
    if request.verify is None:
        return None, None
    rank = len(request.size[1]) if request.size else kernel.rank
    read = read_whole(request.verify, request.reading, grid=rank > 1)
    array = read.whole().astype(np.float64)
    if request.size is not None and (request.size[0] or 1, *request.size[1]) != array.shape:
        found = format_size(array.shape[0] if array.shape[0] > 1 else None, array.shape[1:])
        raise UsageError(
            f"--input {format_size(*request.size)} and {request.verify!r}, which is {found}: they must agree, "
            "or leave --input out"
        )
    return array, read.grain


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
        opening.check_not_input(path, inputs, force=request.force)
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
        pixels = draw(matrix)
    write_whole(path, pixels, force=request.force, inputs=inputs, format=format, form=form)


# What is said, within 80 columns

MOST_LINES = 100
MOST_PRINTED = 16  # numbers of a vector in text


def show_matrix(request: Request) -> None:
    """Make a matrix and print it; where the matrix itself goes to standard output, words go to stderr.

    Raises
    ------
    ConvError
        When it does not do what ``filter`` does.
    """
    made = make(request)
    stream = sys.stderr if made.path == STANDARD and request.json else None
    report.show(made, _lines(made, request.messages.quiet), request, stream=stream)
    if made.verdict is not None and not made.verdict.equal:
        difference = made.verdict.difference
        raise ConvError(f"the matrix and the convolution differ by {difference:.3g}: please report it")


def _lines(made: Made, quiet: bool) -> Iterator[str]:
    say = report.Note if made.path == STANDARD else str
    if not quiet:
        yield say(facts(made.matrix))
    if made.path is None:
        lines = layout(made.matrix, made.symbols)
        yield from lines
        if not lines and not quiet:
            yield report.Note(f"too large for {WIDTH} columns: -o W.png shows it, -o W.npz or W.csv keeps it")
    elif not quiet and made.path != STANDARD:
        yield made.path
    if made.verdict is not None and made.verdict.equal:
        yield from map(say, comparison(made.verdict))


def comparison(verdict: Verdict) -> list[str]:
    """Return the vectors that are compared, and what came of it."""
    return [
        f"vec(X)      = {_vector(verdict.x)}",
        f"W vec(X)    = {_vector(verdict.product)}",
        f"convolution = {_vector(verdict.filtered)}",
        f"equal: the largest difference is {verdict.difference:.3g}",
    ]


def _vector(values: np.ndarray) -> str:
    text = " ".join(map(decimal_text, values[:MOST_PRINTED].tolist()))
    return text + (f" … ({len(values)} numbers)" if len(values) > MOST_PRINTED else "")


def layout(matrix: Matrix, symbols: Sequence[str] | None = None) -> list[str]:
    """Return the matrix in lines: all of it where it fits, else its blocks by letters, else nothing."""
    rows, columns = matrix.shape
    if rows * columns > WIDTH * MOST_LINES * 100:
        return []
    cells = _cells(matrix, symbols or [number_text(value) for value in matrix.values.tolist()])
    return _whole(matrix, cells) or _by_letters(matrix, cells)


def _cells(matrix: Matrix, texts: Sequence[str], none: str = ".") -> list[list[str]]:
    cells = [[none] * matrix.shape[1] for _ in range(matrix.shape[0])]
    for row, column, text in zip(matrix.rows.tolist(), matrix.columns.tolist(), texts, strict=True):
        cells[row][column] = text
    return cells


def _whole(matrix: Matrix, cells: list[list[str]]) -> list[str]:
    added = [f"  + {number_text(value)}" if value else "" for value in matrix.offset.tolist()]
    lines = _grid(cells, matrix.blocks, added)
    fits = len(lines) <= MOST_LINES and max(map(len, lines)) <= WIDTH
    return lines if fits else []


def _grid(cells: list[list[str]], blocks: tuple[int, int], added: Sequence[str] = ()) -> list[str]:
    """Right-align cells, with a line between blocks.

    >>> _grid([["1", "2", ".", "."], [".", ".", "1", "2"]], (1, 2))
    ['1 2 | . .', '----+----', '. . | 1 2']
    """
    high, wide = blocks
    width = max(len(cell) for row in cells for cell in row)
    lines = []
    for index, row in enumerate(cells):
        parts = [
            " ".join(f"{cell:>{width}}" for cell in row[start : start + wide])
            for start in range(0, len(row), wide)
        ]
        if index and index % high == 0:
            lines.append("-+-".join("-" * len(part) for part in parts))
        lines.append(" | ".join(parts) + (added[index] if added else ""))
    return lines


def _by_letters(matrix: Matrix, cells: list[list[str]]) -> list[str]:
    """Return a grid of one letter for each block, and every block that occurs; nothing if that is too long."""
    high, wide = matrix.blocks
    names: dict[tuple[str, ...], str] = {}
    grid = []
    for top in range(0, len(cells), high):
        line = []
        for left in range(0, len(cells[0]), wide):
            block = tuple(cell for row in cells[top : top + high] for cell in row[left : left + wide])
            if all(cell == "." for cell in block):
                line.append(".")
            else:
                if block not in names and len(names) == 26:
                    return []
                line.append(names.setdefault(block, chr(ord("A") + len(names))))
        grid.append(line)
    lines = _grid(grid, (matrix.outputs[-2], matrix.inputs[-2]) if matrix.levels > 1 else (1, 1))
    for block, name in names.items():
        body = _grid(
            [list(block[start : start + wide]) for start in range(0, len(block), wide)], (high, wide)
        )
        lines += ["", f"{name} =", *body]
    if any(matrix.offset):
        unlike = len(np.unique(matrix.offset)) > 1
        lines += ["", f"+ {number_text(matrix.offset[0])}{' and others' if unlike else ''} in every row"]
    fits = len(lines) <= MOST_LINES and max(map(len, lines)) <= WIDTH
    return lines if fits and matrix.levels > 1 else []


def facts(matrix: Matrix) -> str:
    """Say in one line what it is, such as

    ``9x16: 3x3 outputs from 4x4 inputs, 36 entries; doubly blocked Toeplitz, 3x4 blocks of 3x4``
    """
    rows, columns = matrix.shape
    outputs, inputs = (_size(shape) for shape in (matrix.outputs, matrix.inputs))
    kind = ("", "", "doubly blocked ", "triply blocked ")[matrix.levels] + matrix.structure.value
    high, wide = matrix.blocks
    if matrix.shape != matrix.blocks:
        kind += f", {rows // high}x{columns // wide} blocks of {high}x{wide}"
    if max(matrix.outputs[0], matrix.inputs[0]) > 1:
        kind += ", one such part for each pair of channels"
    return f"{rows}x{columns}: {outputs} outputs from {inputs} inputs, {len(matrix.values)} entries; {kind}"


def _size(shape: Sequence[int]) -> str:
    space = "x".join(map(str, shape[1:]))
    return f"{shape[0]}@{space}" if shape[0] > 1 else space
