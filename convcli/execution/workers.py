"""Boxes of one job on several processes: each opens the input and the output itself, and returns words alone.

Boxes are disjoint and hold whole pieces of the output, so that one that is computed twice does no harm.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import numpy as np

from convcli.common import ConvError, frozen, plugins, signals
from convcli.common.processes import Child, results
from convcli.data import Info, Sink, Source, box_at
from convcli.engines import get_engine
from convcli.execution.box import Runner
from convcli.execution.folder import JobFolder, Row
from convcli.execution.pipeline import parts_of
from convcli.jobs.job import Job
from convcli.pixels.measures import Measured
from convcli.pixels.render import Tally
from convcli.plan.choose import Plan

TRIES = 3  # workers that a box may kill
ENDED = f"it has ended {TRIES} workers"
_SERVE = "from convcli.execution.workers import serve; serve()"
_ONE = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "BLOSC")}


class Input(Protocol):
    """Where a source is; it can be pickled."""

    def open(self) -> Source: ...


class Output(Protocol):
    """Where an output in progress is; it can be pickled."""

    def open(self) -> AbstractContextManager[Sink]:
        """Open it once more, beside others."""
        ...


@frozen
class Share:
    """All that a worker must know to compute any box of a job and to write it.

    Attributes
    ----------
    job : Job
    plan : Plan
    form : Info
        The axes of ``job.result``, maybe under other letters.
    measured : optional
        What the range policy has measured on all values.
    source : Input
    sink : Output
    folder : Path
        The job's, or what leads into it by the descriptor that workers on this machine inherit.
    descriptor : int
    threads : int
        Of one worker.
    """

    job: Job
    plan: Plan
    form: Info
    measured: Measured | None
    source: Input
    sink: Output
    folder: Path
    descriptor: int
    threads: int = 1


class Worker:
    """Computes boxes of a share, writes them and logs them."""

    def __init__(self, share: Share, *, kept: bool = True) -> None:
        """``kept`` is as `JobFolder.log` takes it."""
        self._share, self._stack = share, ExitStack()
        plan, job = share.plan, share.job
        engine = self._stack.enter_context(get_engine(plan.engine.value, plan.device, share.threads))
        source = share.source.open()
        self._stack.callback(source.close)
        self._sink = self._stack.enter_context(share.sink.open())
        self.log = self._stack.enter_context(JobFolder(share.folder).log(kept=kept))
        self._runner = Runner(job, source, engine, plan.algorithms)
        self._how = job.rendering(share.measured)

    def compute(self, index: int) -> tuple[np.ndarray, Row]:
        """Return the values of a box, axes as the output has them, and what the log says of it."""
        began, job, plan = time.monotonic(), self._share.job, self._share.plan
        box = box_at(job.chain.output, plan.steps, index)
        block, tally = self._runner.result(box, self._runner.reader(box), self._how)
        (values,) = parts_of(block, self._share.form, self._sink.info)
        row = {"box": index, "checksum": checksum(values)}
        return values, {**row, **_counts(tally), "seconds": round(time.monotonic() - began, 6)}

    def place(self, index: int) -> tuple[tuple[int, int], ...]:
        """Return a box as the output takes it."""
        spans = dict(
            zip(
                self._share.job.letters,
                box_at(self._share.job.chain.output, self._share.plan.steps, index),
                strict=True,
            )
        )
        return tuple(spans[letter] for letter in self._sink.info.box_letters)

    def do(self, index: int) -> Row:
        """Compute a box, write it, and log it.

        Raises
        ------
        ConvError
            When it cannot be written: no other box can either.
        """
        try:
            values, row = self.compute(index)
        except (ConvError, MemoryError) as error:
            row = {"box": index, "error": reason(error)}
            self.log(row)
            return row
        try:
            self._sink.write(self.place(index), values)
            self._sink.flush()
            self.log(row)
        except OSError as error:
            raise ConvError(f"the output cannot be written: {error.strerror}") from None
        return row

    def close(self) -> None:
        self._stack.close()


def reason(error: ConvError | MemoryError) -> str:
    """Say why a box or a worker has failed."""
    return str(error) or "not enough memory"


def checksum(values: np.ndarray) -> int:
    """Return the CRC-32 of values in C order."""
    return zlib.crc32(np.ascontiguousarray(values).view(np.uint8).data)


def _counts(tally: Tally) -> Row:
    return {name: one for name, one in vars(tally).items() if one or name == "only"}


def tally_of(rows: Iterable[Row]) -> Tally:
    """Return what was clipped in all boxes."""
    total, names = Tally(), Tally.__dataclass_fields__
    for row in rows:
        total.add(Tally(**{name: row[name] for name in names if name in row}))
    return total


def serve() -> None:
    """Work for the process at the other end of the pipe that the command line names, until it leaves."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's goes to all: the run ends its workers
    pipe = Connection(int(sys.argv[1]))
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            worker = Worker(pipe.recv())
            while True:
                pipe.send(worker.do(pipe.recv()))
        except (ConvError, MemoryError) as error:
            pipe.send(reason(error))
        except Exception as error:
            ours = f"internal error: {type(error).__name__}: {error} (in a worker; please report it)"
            pipe.send(str(plugins.blamed(error) or ours))


class _Program(Child):
    """A Python of its own that serves a share."""

    def __init__(self, share: Share) -> None:
        ours, theirs = Pipe()
        environment = {**os.environ, **(_ONE if share.threads == 1 else {})}
        call = [sys.executable, "-P", "-c", _SERVE, str(theirs.fileno())]
        with theirs:
            self._child = subprocess.Popen(
                call, pass_fds=[theirs.fileno(), share.descriptor], stdin=subprocess.DEVNULL, env=environment
            )
        super().__init__(ours)
        signals.add(self.end)
        self.pipe.send(share)

    def end(self, until: float = 0.0) -> int:
        signals.discard(self.end)
        self._child.kill()
        self.pipe.close()
        return self._child.wait()


def run(share: Share, boxes: Iterable[int], workers: int) -> Generator[Row, None, None]:
    """Have boxes computed and written by several processes; yield what each came to, in any order.

    A box that kills `TRIES` workers has failed, and the rest goes on.

    Raises
    ------
    ConvError
        Where a worker cannot go on at all: the input or the output cannot be opened or written.
    """
    deaths, crew, begin = Counter[int](), list[Child](), partial(_Program, share)
    with JobFolder(share.folder).log() as log:

        def lost(box: int, _: int) -> Row | str | None:
            deaths[box] += 1
            if deaths[box] < TRIES:
                return None
            row: Row = {"box": box, "error": ENDED}
            log(row)
            return row

        try:
            for _ in range(workers):
                crew.append(begin())
            made: Iterator[tuple[int, Row | str]] = results(crew, begin, deque(boxes), lost)
            for _, row in made:
                if isinstance(row, str):
                    raise ConvError(row)
                yield row
        finally:
            for one in crew:
                one.end()
