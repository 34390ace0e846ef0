"""One job: run it, read its output, and hold it against the oracle."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convcli.cli.program import run
from tests.differential import oracle
from tests.differential.jobs import Job, read, write
from tests.shell import convcli

# The algorithms' stated bounds, of the kernel's absolute sum times the input's range.
FLOAT32, FLOAT64 = 1e-5, 1e-13
NEAR_HALF = 1e-3


class DifferenceError(AssertionError):
    """A result is not what the definitions say."""


@dataclass(frozen=True)
class Outcome:
    """How a result compares.

    Attributes
    ----------
    values
        How many there are.
    off
        How many of them, as integers, lie on the other side of a half that is within the bound.
    error
        The largest error of floats, in units of the bound.
    """

    values: int
    off: int = 0
    error: float = 0.0


def command(job: Job, folder: Path, engine: str | None = None) -> list[str]:
    kernel = job.kernel_text or str(folder / "bank.npy")
    words = list(job.arguments)
    if engine:
        words[words.index("--engine") + 1] = engine
    target = folder / f"out{job.out_suffix}"
    kernels = ["-k", kernel, *(["-k", job.second[1]] if job.second else [])]
    return ["filter", str(folder / f"in{job.kind.suffix}"), *kernels, *words, "-y", "-o", str(target)]


def produce(job: Job, folder: Path, shell: bool = False, engine: str | None = None) -> np.ndarray:
    """Run a job, in this process or in one of its own, and return its output."""
    words = command(job, folder, engine)
    if shell:
        done = convcli(*words, cwd=folder)
        code, said = done.returncode, done.stderr.decode()
    else:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(words)
        said = err.getvalue()
    if code:
        raise DifferenceError(f"exit {code}: {said}")
    return read(folder / f"out{job.out_suffix}", job.kind)


def _planes(job: Job) -> tuple[np.ndarray, int | None]:
    """Return the input as (channels, *space), and where its channels stood."""
    axes = job.kind.axes
    data = job.data.astype(np.float64)
    if axes == "XC":
        data, axes = data.T, "CX"
    where = axes.index("C") if "C" in axes else None
    return (np.moveaxis(data, where, 0) if where is not None else data[None]), where


def expected(job: Job) -> np.ndarray:
    """Return the values before any rounding, in the axes of the output."""
    planes, where = _planes(job)
    if job.second:
        planes = np.stack(
            [oracle.correlate(plane[None], job.bank, job.geometry, job.flip)[0] for plane in planes]
        )
        found = np.stack(
            [oracle.correlate(plane[None], job.second[0], job.geometry, job.flip)[0] for plane in planes]
        )
        found = found[0] if where is None else np.moveaxis(found, 0, where)
        return found.swapaxes(0, 1) if job.kind.axes == "XC" else found
    if job.bank.shape[1] > 1:  # sums over the channels; the maps stand where they were
        found = oracle.correlate(planes, job.bank, job.geometry, job.flip) + job.bias
        found = np.moveaxis(found, 0, where or 0) if len(job.bank) > 1 else found[0]
        return np.moveaxis(found, 0, 1) if job.kind.axes == "XC" and len(job.bank) > 1 else found
    maps = (
        np.stack([oracle.correlate(plane[None], job.bank, job.geometry, job.flip) for plane in planes], 1)
        + job.bias
    )  # (maps, channels, *space)
    found = maps[:, 0] if where is None else np.moveaxis(maps, 1, where + 1)
    if job.kind.axes == "XC":
        found = found.swapaxes(1, 2)
    return found if len(job.bank) > 1 else found[0]


def compare(job: Job, got: np.ndarray) -> Outcome:
    """Hold a result against the oracle.

    Raises
    ------
    DifferenceError
        With the place and the two values.
    """
    if job.kind.alpha:
        return _compare_alpha(job, got)
    values = expected(job)
    if got.shape != values.shape:
        raise DifferenceError(f"the shape is {got.shape}, it should be {values.shape}")
    wide = job.kind.dtype == "float64"
    peak = max(np.abs(job.data.astype(np.float64)).max(), abs(job.geometry.value))
    if job.geometry.extra is None:
        peak = max(
            peak, np.abs(oracle.padded(_planes(job)[0], job.bank.shape[2:], job.geometry, job.flip)).max()
        )
    sums = np.abs(job.bank).sum(tuple(range(1, job.bank.ndim))).max()
    if job.second:  # antireflection may double what it continues
        sums *= 4 * np.abs(job.second[0]).sum()
    bound = (FLOAT64 if wide else FLOAT32) * (sums * peak + abs(job.bias))
    if job.outliers:
        bound = (FLOAT64 if wide else FLOAT32) * _locally(job)
    if job.floats:
        error = np.abs(got - values)
        _require(error <= bound, got, values)
        return Outcome(values.size, error=float((error / np.maximum(bound, 1e-300)).max()))
    how = oracle.mapping(job.effective_policy, got.dtype.name, values, job.bank)
    exact = how.exact(values)
    slack = max(NEAR_HALF, bound * how.scale * (3 if job.measured else 1))
    _require(np.abs(got - exact) <= 0.5 + slack, got, exact)
    return Outcome(values.size, off=int(np.count_nonzero(got != np.rint(exact))))


def _locally(job: Job) -> np.ndarray:
    planes, where = _planes(job)
    found = np.stack([oracle.locally(plane[None], job.bank, job.geometry, job.flip)[0] for plane in planes])
    return found[0] if where is None else np.moveaxis(found, 0, where)


def _compare_alpha(job: Job, got: np.ndarray) -> Outcome:
    """Hold colours against the oracle where they are seen, and alpha everywhere."""
    planes, where = _planes(job)
    white = float(np.iinfo(job.kind.dtype).max)
    colours, alpha, covered = oracle.with_alpha(planes, job.bank, job.geometry, job.flip, job.bias, white)
    if got.shape != (*alpha.shape, 4):
        raise DifferenceError(f"the shape is {got.shape}, it should be {(*alpha.shape, 4)}")
    sums = np.abs(job.bank).sum()
    peak = max(white, np.abs(oracle.padded(planes, job.bank.shape[2:], job.geometry, job.flip)).max())
    bound = FLOAT32 * (sums * peak + abs(job.bias)) / np.maximum(covered, 1e-9)
    seen = alpha > 0
    exact, slack = np.moveaxis(colours, 0, -1), bound[..., None]
    opaque, loose = alpha, FLOAT32 * peak
    if not job.floats:
        how = oracle.mapping(job.effective_policy, job.kind.dtype, colours, job.bank)
        exact, slack = how.exact(exact), 0.5 + np.maximum(NEAR_HALF, slack * how.scale)
        opaque, loose = np.clip(alpha, 0, white), 0.5 + max(NEAR_HALF, loose)
    _require((np.abs(got[..., :3] - exact) <= slack) | ~seen[..., None], got[..., :3], exact)
    _require(np.abs(got[..., 3] - opaque) <= loose, got[..., 3], opaque)
    if job.floats:
        return Outcome(exact.size)
    return Outcome(exact.size, off=int(np.count_nonzero((got[..., :3] != np.rint(exact)) & seen[..., None])))


def _require(fits: np.ndarray, got: np.ndarray, wanted: np.ndarray) -> None:
    if not fits.all():
        place = tuple(np.argwhere(~fits)[0].tolist())
        raise DifferenceError(
            f"at {place}: {got[place]!r}, it should be {wanted[place]!r} ({(~fits).sum()} such)"
        )


def check(job: Job, folder: Path, shell: bool = False) -> Outcome:
    """Run a job and compare."""
    write(job, folder)
    try:
        return compare(job, produce(job, folder, shell))
    except DifferenceError as error:
        words = " ".join(command(job, folder))
        raise DifferenceError(
            f"job {job.number}, {job.kind.name} {job.data.shape}: {error}\n{words}"
        ) from None


def engines_agree(job: Job, folder: Path) -> tuple[int, int]:
    """Hold the output of a job that was checked, in 8 bits, against the other engine's.

    Returns
    -------
    values, apart : int
        How many there are, and how many differ: by one each, and each beside a half.
    """
    first = read(folder / f"out{job.out_suffix}", job.kind).astype(int)
    second = produce(job, folder, engine="torch" if job.engine == "numpy" else "numpy")
    compare(job, second)  # what both are near, they are near each other
    apart = np.abs(first - second.astype(int))
    if apart.max(initial=0) > 1:
        raise DifferenceError(f"job {job.number}: the engines differ by {apart.max()}")
    return second.size, int(np.count_nonzero(apart))
