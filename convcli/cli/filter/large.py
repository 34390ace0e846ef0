"""A job that is larger than memory or takes long: processes compute its boxes, and a folder says which are done."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import convcli
from convcli.cli.filter.request import Request
from convcli.cli.shared.progress import Meter
from convcli.common import ConvError
from convcli.common.machine import available_threads
from convcli.data.box import count
from convcli.data.info import ITEMS, Info, Source
from convcli.execution import workers
from convcli.execution.box import measured
from convcli.execution.folder import JobFolder, Row, beside
from convcli.execution.pipeline import Pipeline
from convcli.execution.workers import Share
from convcli.jobs.job import Job
from convcli.media import opening, registry
from convcli.media.files import target
from convcli.media.opening import Location, Place
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.registry import Format, parted
from convcli.pixels.measures import Measured
from convcli.pixels.render import Tally

_WITHOUT = (
    "inputs",
    "kernels",
    "output",
    "out_dir",
    "threads",
    "memory",
    "workers",
    "part",
    "keep_job",
)  # of the options
_SILENT = ("force", "dry_run", "plan", "json", "progress", "quiet", "verbose", "debug")
_verify: ContextVar[tuple[float, list[str]] | None] = ContextVar("verify", default=None)


@contextmanager
def verifying(share: float) -> Iterator[list[str]]:
    """Let a dry run in this block compute a share of its job's boxes once more, and compare them.

    What it finds is added to the list that the block gets.
    """
    told: list[str] = []
    token = _verify.set((share, told))
    try:
        yield told
    finally:
        _verify.reset(token)


def crew(request: Request, format: Format, job: Job, source: Source) -> int:
    """Return how many processes are to compute a job, 0 where the one that runs can do it alone, or must."""
    if target.STANDARD in request.inputs:
        return 0
    apart = source.grain.any_order and not source.grain.kept and ITEMS not in source.info.letters
    if not apart or request.along is not None or request.device != "cpu" or "%" in (request.output or ""):
        return 0
    if type(source).__module__.startswith("convcli.execution"):  # a transform, which is not opened again
        return 0
    if not opening.in_place(format, job.result, request.writing):
        return 0
    return request.scale.workers or max(1, (request.threads or available_threads()))


class Run:
    """One job, its folder and its share of the boxes."""

    def __init__(
        self, request: Request, location: Location, pipeline: Pipeline, path: str, crew: int
    ) -> None:
        self._request, self._location, self._pipeline = request, location, pipeline
        file, self.array = parted(path)
        self.output, self.crew = Path(file), crew
        self.folder = JobFolder(beside(Path(file).absolute()))

    def identity(self) -> dict[str, Any]:
        """Return what must be the same for a job to go on."""
        job = self._pipeline.job
        kernels = [
            f"{kernel.name} (weights {sha256(repr(kernel).encode()).hexdigest()[:16]})"
            for kernel in job.chain.kernels
        ]
        flat = dict(_flat(self._request))
        return {
            "version": convcli.__version__,
            "input": opening.stamp(self._location.name),
            "form": f"{job.info.letters} {job.info.shape} {job.info.dtype}",
            "kernels": ", ".join(kernels),
            "output": str(self.output.absolute()),
            "options": {name: str(one) for name, one in flat.items() if name not in _WITHOUT + _SILENT},
        }

    def share(self, format: Format, form: Info, options: WriteOptions) -> tuple[Share, Place, dict[str, Any]]:
        """Begin the job or go on with it; return what workers need, where they write, and what job.json says."""
        pipeline = self._pipeline
        options = replace(options, array=self.array)
        about = {
            "identity": self.identity(),
            "plan": pipeline.plan.kept_choice,
            "boxes": count(pipeline.job.chain.output, pipeline.plan.steps),
            "command": sys.argv[1:],
            "folder": str(Path.cwd()),
        }
        found = self.folder.start(about, lambda new: opening.begun(new, format, form, options))
        pipeline.plan = plan = pipeline.plan.again(found["plan"])
        now = self.output if self.folder.published else self.folder.new
        place = opening.begun(now, format, form, options)
        range = self._measured()
        threads = self._request.threads if self._request.scale.workers and self._request.threads else 1
        location = replace(self._location, name=_absolute(self._location.name))
        share = Share(pipeline.job, plan, pipeline.result, range, location, place, self.folder.path, threads)
        return share, place, found

    def _measured(self) -> Measured | None:
        """Measure what the range policy needs, on all boxes."""
        if self._pipeline.job.policy.first_pass() is None:
            return None
        with self._pipeline.engine:
            return measured(self._pipeline.runner, self._pipeline.boxes, available_threads())

    def work(self, share: Share, total: int, meter: Meter) -> dict[int, Row]:
        """Compute the boxes of this part that are not done; return what the logs say of all boxes.

        Raises
        ------
        ConvError
            When some cannot be computed, after all others.
        """
        part, parts = self._request.scale.part or (1, 1)
        done = {index for index, row in self.folder.rows().items() if "error" not in row}
        todo = [index for index in range(part - 1, total, parts) if index not in done]
        finished, failed = len(done), 0
        with closing(workers.run(share, todo, min(self.crew, len(todo)))) as rows:
            for row in rows:
                failed += "error" in row
                finished += "error" not in row
                meter(finished, total)
        found = self.folder.rows()
        if failed:
            first = next(row for row in found.values() if "error" in row)
            raise ConvError(
                f"{failed} of {total} boxes failed, the first, {first['box']}, with: {first['error']}. What is done "
                "is kept: the same command goes on"
            )
        return found


def verify(
    request: Request, location: Location, pipeline: Pipeline, format: Format, form: Info, path: str, crew: int
) -> bool:
    """Compute and compare boxes where `verifying` asks for it; return whether it does."""
    if (asked := _verify.get()) is None:
        return False
    one = Run(request, location, pipeline, path, crew)
    share, place, _ = one.share(format, form, request.writing)
    asked[1].append(_verified(one, share, place, format, asked[0]))
    return True


def run(
    request: Request, location: Location, pipeline: Pipeline, format: Format, form: Info, path: str, crew: int
) -> tuple[bool, tuple[str, ...], Tally]:
    """Compute a job's boxes, or the part that was asked for; return whether all are done, notes, what was clipped."""
    one = Run(request, location, pipeline, path, crew)
    folder, part = one.folder, request.scale.part or (1, 1)
    ended = folder.exists and folder.published
    opening.check_output(path, format, form, force=request.force or ended)
    share, place, about = one.share(format, form, request.writing)
    total = about["boxes"]
    meter = Meter(request.messages.shown_progress, "boxes")
    with folder.running(part), closing(meter):
        rows = one.work(share, total, meter)
        if left := total - sum("error" not in row for row in rows.values()):
            told = f"part {part[0]} of {part[1]} is done; {left} of {total} boxes are left to the others"
            return False, (told,), Tally()
        if opening.stamp(location.name) != about["identity"]["input"]:
            raise ConvError(
                "the input has changed while it was read: end the job with `convcli job OUT --cancel`, and begin "
                "again"
            )
        folder.finish(
            lambda new: target.publish(new, one.output, force=request.force), request.scale.keep_job
        )
    return True, place.sink.notes, workers.tally_of(rows.values())


def _verified(one: Run, share: Share, place: Place, format: Format, wanted: float) -> str:
    """Compute some boxes once more, and compare them with the log and with what the output holds.

    Raises
    ------
    ConvError
        With the boxes that differ.
    """
    rows = {index: row for index, row in one.folder.rows().items() if "error" not in row}
    chosen = random.sample(sorted(rows), min(len(rows), max(1, round(wanted * len(rows)))))
    worker, differ, info = workers.Worker(share), list[int](), place.sink.info
    options = ReadOptions(axes=info.letters, array=one.array)
    held = registry.open_source(target.open_input(place.path), format, options)
    alike = (held.info.letters, held.info.dtype) == (info.letters, info.dtype)
    for index in chosen:
        sums = {rows[index]["checksum"], worker.compute(index)[1]["checksum"]}
        sums |= {workers.checksum(held.read(worker.place(index)))} if alike else set()
        differ += [index] * (len(sums) > 1)
    held.close()
    worker.close()
    if differ:
        told = ", ".join(map(str, differ[:9]))
        raise ConvError(f"{len(differ)} of {len(chosen)} boxes differ from what was written: {told}")
    return f"{len(chosen)} of {len(rows)} boxes, computed once more, are equal to what was written"


def _flat(record: Any) -> Iterator[tuple[str, Any]]:
    for name in record.__dataclass_fields__:
        value = getattr(record, name)
        if hasattr(value, "__dataclass_fields__") and name != "range":
            yield from _flat(value)
        else:
            yield name, value


def _absolute(name: str) -> str:
    file, array = parted(name)
    return str(Path(file).absolute()) + (f"::{array}" if array else "")
