"""All inputs of ``filter``; several processes work on several, and one line tells how far they are, one how it ended.

Loaded once the command line makes sense.
"""

import importlib
import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TextIO

from convcli.cli.filter.found import Found, Input
from convcli.cli.filter.inputs import Claims, filter_one, has_suffix
from convcli.cli.filter.request import Request
from convcli.cli.shared import report
from convcli.cli.shared.kernels import checked
from convcli.cli.shared.options import Progress
from convcli.cli.shared.terminal import Meter
from convcli.common import ConvError, frozen, signals
from convcli.common.machine import available_threads, keep_memory, take_share
from convcli.common.processes import can_fork, in_order
from convcli.media.files.target import shown_input

NAMED = 20  # failures in the last line
SMALL = 1 << 20  # bytes of a file that takes no longer to compute than to be forced to the disk
WAITING = 3  # processes a core for small files: some of them wait for the disk
ALONE = 64  # small files for which another process is worth its start


@frozen
class Outcome:
    """What became of one input: how many outputs were written (none where all were there), or why it failed.

    ``out`` and ``err`` are what it said, where another process did the work.
    """

    name: str
    number: int = 0
    written: int = 0
    error: str = ""
    code: int = 0
    out: str = ""
    err: str = ""


class _Counts:
    """How a batch is going."""

    def __init__(self) -> None:
        self.done = self.written = self.skipped = 0
        self.failures: list[Outcome] = []
        self.begun = time.monotonic()

    def add(self, one: Outcome) -> None:
        self.done += 1
        self.written += one.written
        self.skipped += not (one.error or one.written)

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.begun, 2)

    @property
    def facts(self) -> dict[str, object]:
        failures = [{"input": one.name, "error": one.error} for one in self.failures]
        counts = {"written": self.written, "skipped": self.skipped, "failed": len(failures)}
        return {**counts, "seconds": self.seconds, "failures": failures}

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.written} written{skipped} in {self.seconds:g} s"


def filter_all(request: Request) -> None:
    """Filter every input; one that fails does not stop the others, and the highest exit code remains."""
    for text in request.kernels:  # a wrong name is found before any file is opened
        checked(text)
    request = _into_folder(request)
    found = Found(request.inputs, request.recursive, request.out_dir)
    if found.several:
        request.check_several(f"the files of {shown_input(found.several)}")
    claims = Claims(request, found.inputs)
    if len(request.inputs) > 1 or found.several:
        filter_several(request, found, claims)
    else:
        filter_one(request, found.inputs[0], claims)


def _into_folder(request: Request) -> Request:
    """Return a request whose output is not the name of a folder: its outputs get names in there."""
    folder = request.output or ""
    ends = folder.endswith(("/", os.sep))
    if not ends and (not Path(folder).is_dir() or not folder or has_suffix(folder)):
        return request
    return replace(request, output=None, out_dir=Path(folder))


def filter_several(request: Request, found: Found, claims: Claims) -> None:
    """Filter several inputs; one that fails does not stop the others.

    Raises
    ------
    ConvError
        At the end, where some failed.
    """
    if not request.messages.quiet:
        for line in found.notes:
            report.note(line)
    inputs, counts, begun = found.inputs, _Counts(), time.time()
    for name, error in found.failures:
        counts.failures.append(_failed(request, name, error))
    counts.done = len(counts.failures)
    asked = request.threads or available_threads()
    dry = request.dry_run
    here = dry or request.device != "cpu" or not can_fork()
    processes = 1 if here else crew_of(asked, inputs, request.threads is None)
    messages = replace(request.messages, progress=Progress.NONE)
    one = replace(request, messages=messages, threads=max(1, asked // processes))
    meter = Meter(request.messages.shown_progress, "files")
    total = len(inputs) + counts.done

    def arrived(outcome: Outcome) -> None:
        pending.pop(outcome.number)
        counts.add(outcome)
        meter(counts.done, total, outcome.name)

    def work(input: Input, error: Exception | None = None) -> Outcome:
        if processes == 1:
            meter.hide()
        else:
            take_share(max(1, asked // processes))
        with _captured(processes > 1) as (out, err):
            try:
                if error is not None:
                    raise error
                outcome = Outcome(input.name, written=filter_one(one, input, claims))
                if request.json and not (outcome.written or dry):
                    report.print_json(
                        {"input": input.name, "outputs": claims.foreseen(request, input), "skipped": True}
                    )
            except BrokenPipeError:
                raise
            except (Exception, SystemExit) as failure:  # a plug-in may exit
                outcome = _failed(one, input.name, failure)
        return replace(outcome, number=input.number, out=out.getvalue(), err=err.getvalue())

    pending = {input.number: input for input in inputs}

    def interrupted() -> None:  # some outputs may be written whose outcome has not arrived yet
        paths = (path for input in pending.values() for path in claims.foreseen(request, input))
        written = counts.written + sum(map(partial(_changed, since=begun), paths))
        os.write(2, f"interrupted; {written} written\n".encode())

    if processes > 1:
        importlib.import_module("convcli.cli.filter.task")  # once for all processes
    if can_fork():  # Linux
        keep_memory()
    signals.add(interrupted)
    outcomes = in_order(work, inputs, processes, work, arrived)
    try:
        for outcome in outcomes:
            if outcome.error:
                counts.failures.append(outcome)
            if outcome.out or outcome.err:
                meter.hide()
            sys.stderr.write(outcome.err)
            sys.stdout.write(outcome.out)
            sys.stdout.flush()  # what follows may be interrupted
    finally:
        outcomes.close()
        meter.close()
        signals.discard(interrupted)
    _conclude(request, counts, total)


def crew_of(threads: int, inputs: Sequence[Input], more: bool) -> int:
    """Return how many processes to start: with ``more``, up to three a thread where inputs are many and small."""
    crew = max(1, min(threads, len(inputs)))
    most = min(WAITING * crew, len(inputs) // ALONE)
    return most if more and most > crew > 1 and sum(map(_size, inputs)) <= SMALL * len(inputs) else crew


def _size(input: Input) -> int:
    with suppress(OSError, ValueError):
        return os.stat(input.name).st_size  # noqa: PTH116  10,000 times
    return 0


def _conclude(request: Request, counts: _Counts, total: int) -> None:
    """Say how it ended."""
    if request.dry_run:
        told = ""
    else:
        told = str(counts)
        if request.json:
            report.print_json(counts.facts)
    sys.stdout.flush()  # an error ends the process without it
    if counts.failures:
        names = [shown_input(one.name) for one in counts.failures]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        there = "; --skip-existing leaves what is there" * all(
            "it exists" in one.error for one in counts.failures
        )
        whole = ConvError(
            f"{len(names)} of {total} inputs failed ({', '.join(names[:NAMED])}{more})"
            + (f"; {told}" if told else "")
            + there
        )
        whole.exit_code = max(one.code for one in counts.failures)
        raise whole
    if told and not request.messages.quiet:
        report.note(told)


def _failed(request: Request, name: str, error: BaseException) -> Outcome:
    """Say what failed, and return it as an outcome."""
    text, code = report.explained(error)
    if request.messages.debug and not isinstance(error, ConvError):
        import traceback

        traceback.print_exception(error)
    report.error(text)
    if request.json:
        report.print_json({"input": name, "error": text})
    return Outcome(name, error=text, code=code)


def _changed(path: str, since: float) -> bool:
    """Return whether a file has been written since a time."""
    try:
        return Path(path).stat().st_mtime >= since
    except OSError:
        return False


class _Kept(io.StringIO):
    """What is said while another process prints, as it would be to the stream itself."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()


@contextmanager
def _captured(really: bool) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Keep what a block says, unless it may say it itself."""
    out, err = _Kept(sys.stdout), _Kept(sys.stderr)
    with redirect_stdout(out if really else sys.stdout), redirect_stderr(err if really else sys.stderr):
        yield out, err
