"""A job that is larger than memory or takes long: processes compute its boxes, and a folder says which are done."""

from __future__ import annotations

import random
import sys
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import convcli
from convcli.cli.filter.request import Request
from convcli.cli.shared.terminal import Meter
from convcli.common import ConvError, frozen
from convcli.common.machine import available_threads
from convcli.data import ITEMS, Info, Source, count
from convcli.execution import workers
from convcli.execution.box import measured
from convcli.execution.cluster import connected
from convcli.execution.folder import JobFolder, Row, beside
from convcli.execution.pipeline import Pipeline
from convcli.execution.workers import Share
from convcli.jobs.job import Job
from convcli.media import opening, registry
from convcli.media.files import target
from convcli.media.opening import Location, Place
from convcli.media.options import ReadOptions
from convcli.media.registry import Format, parted
from convcli.pixels.measures import Measured
from convcli.pixels.render import Tally

# Of the request: what is told apart otherwise, says how, or what is said of it
_APART = frozenset(("inputs", "kernels", "output", "out_dir", "threads", "scale"))
_SILENT = frozenset(("force", "dry_run", "json", "messages", "verification"))


def crew(request: Request, format: Format, job: Job, source: Source, output: str) -> int:
    """Return how many processes are to compute a job, 0 where the one that runs can do it alone, or must."""
    if target.STANDARD in request.inputs:
        return 0
    apart = source.grain.any_order and not source.grain.kept and ITEMS not in source.info.letters
    if not apart or request.along is not None or request.device != "cpu" or "%" in (request.output or ""):
        return 0
    if type(source).__module__.startswith("convcli.execution"):  # a transform, which is not opened again
        return 0
    if not beside(output).exists():
        opening.check_disk(output, format, job.result)
    if not opening.in_place(format, job.result, request.writing):
        return 0
    if request.scale.scheduler is not None:
        return 1 if request.verification is not None else connected(request.scale.scheduler).threads
    workers: Any = request.scale.workers
    return workers or max(1, (request.threads or available_threads()))


@frozen
class Run:
    """One job, its folder and its share of the boxes.

    Attributes
    ----------
    request : Request
    location : Location
        Of the input.
    pipeline : Pipeline
    format : Format
        Of the output.
    form : Info
        Of what the output holds.
    path : str
        The output's name.
    crew : int
        How many processes compute boxes.
    """

    request: Request
    location: Location
    pipeline: Pipeline
    format: Format
    form: Info
    path: str
    crew: int

    @property
    def output(self) -> Path:
        """The file of the output."""
        return Path(parted(self.path)[0])

    @cached_property
    def folder(self) -> JobFolder:
        return JobFolder(beside(self.output.absolute()))

    def identity(self) -> dict[str, Any]:
        """Return what must be the same for a job to go on."""
        job = self.pipeline.job
        kernels = [
            f"{kernel.name} (weights {sha256(repr(kernel).encode()).hexdigest()[:16]})"
            for kernel in job.chain.kernels
        ]
        return {
            "version": convcli.__version__,
            "input": self.location.stamp(),
            "array": parted(self.location.name)[1],
            "form": f"{job.info.letters} {job.info.shape} {job.info.dtype}",
            "kernels": ", ".join(kernels),
            "output": _absolute(self.path),
            "regions": sha256(b"".join(getattr(one, "marked", b"") for one in job.areas.regions)).hexdigest()[
                :16
            ],
            "options": {name: str(one) for name, one in _flat(self.request, _APART | _SILENT)},
        }

    def share(self) -> tuple[Share, Place, dict[str, Any]]:
        """Begin the job or go on with it; return what workers need, where they write, and what job.json says."""
        pipeline, format, form = self.pipeline, self.format, self.form
        options = opening.named(self.request.writing, *parted(self.path))
        about = {
            "identity": self.identity(),
            "plan": pipeline.plan.kept_choice,
            "boxes": count(pipeline.job.chain.output, pipeline.plan.steps),
            "command": sys.argv[1:],
            "folder": str(Path.cwd()),
        }
        found = self.folder.start(about, lambda new: opening.begun(new, format, form, options))
        pipeline.plan = plan = pipeline.plan.again(found["plan"])
        if found["boxes"] != count(pipeline.job.chain.output, plan.steps):
            raise ConvError("its job.json is spoiled: remove the folder", subject=repr(self.folder.path.name))
        now = self.output if self.folder.published else self.folder.new
        place = opening.begun(now, format, form, options)
        range = self._measured()
        threads = self.request.threads if self.request.scale.workers and self.request.threads else 1
        mask = self.location.mask and _absolute(self.location.mask)
        location = replace(self.location, name=_absolute(self.location.name), mask=mask)
        folder = self.folder
        inside = folder.inside if self.request.scale.scheduler is None else folder.path
        job, form = pipeline.job, pipeline.result
        share = Share(job, plan, form, range, location, place, inside, folder.descriptor, threads)
        return share, place, found

    def _measured(self) -> Measured | None:
        """Measure what the range policy needs, on all boxes."""
        if self.pipeline.job.policy.first_pass() is None:
            return None
        with self.pipeline.engine:
            return measured(self.pipeline.runner, self.pipeline.boxes, available_threads())

    def work(self, share: Share, total: int, meter: Meter) -> dict[int, Row]:
        """Compute the boxes of this part that are not done; return what the logs say of all boxes.

        Raises
        ------
        ConvError
            When some cannot be computed, after all others.
        """
        part, parts = self.request.scale.part or (1, 1)
        done = self.folder.done()
        todo = [index for index in range(part - 1, total, parts) if index not in done]
        finished = len(done)
        if self.request.scale.scheduler is None:
            run = workers.run(share, todo, min(self.crew, len(todo)))
        else:
            run = connected(self.request.scale.scheduler).run(share, todo)
        with closing(run) as rows:
            for row in rows:
                finished += "error" not in row
                meter(finished, total)
        found = self.folder.rows()
        if failed := [found[index] for index in todo if "error" in found.get(index, ())]:
            raise ConvError(
                f"{len(failed)} of {total} boxes failed, the first, {failed[0]['box']}, with: {failed[0]['error']}. "
                "What is done is kept: the same command goes on"
            )
        return found

    def run(self) -> tuple[bool, tuple[str, ...], Tally]:
        """Compute the boxes, or the part that was asked for; return whether all are done, notes, what was clipped."""
        request, folder, part = self.request, self.folder, self.request.scale.part or (1, 1)
        ended = folder.exists and folder.published
        opening.check_output(self.path, self.format, self.form, force=request.force or ended)
        share, place, about = self.share()
        total = about["boxes"]
        meter = Meter(request.messages.shown_progress, "boxes")
        with folder.running(part), closing(meter):
            rows = self.work(share, total, meter)
            if left := total - sum("error" not in row for row in rows.values()):
                told = f"part {part[0]} of {part[1]} is done; {left} of {total} boxes are left to the others"
                return False, (told,), Tally()
            if self.location.stamp() != about["identity"]["input"]:
                raise ConvError(
                    "the input has changed while it was read: end the job with `convcli job OUT --cancel`, and begin "
                    "again"
                )
            if not folder.published:
                place.sink.finish()
            folder.finish(
                lambda new: target.publish(new, self.output, force=request.force), request.scale.keep_job
            )
        return True, place.sink.notes, workers.tally_of(rows.values())

    def verified(self, wanted: float) -> str:
        """Compute a share of the boxes once more, and compare them with the log and with what the output holds.

        Raises
        ------
        ConvError
            With the boxes that differ.
        """
        if not self.folder.exists:  # none is made for another output
            raise ConvError("its job has another output", subject=repr(self.folder.path.name))
        share, place, _ = self.share()
        rows = {index: row for index, row in self.folder.rows().items() if "error" not in row}
        chosen = random.sample(sorted(rows), min(len(rows), max(1, round(wanted * len(rows)))))
        worker, differ, info = workers.Worker(share), list[int](), place.sink.info
        options = ReadOptions(axes=info.letters, array=parted(self.path)[1])
        held = registry.open_source(target.open_input(place.path), self.format, options)
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


def _flat(record: Any, without: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the options that determine a result: of records, each of their own."""
    for name in (one for one in record.__dataclass_fields__ if one not in without):
        value = getattr(record, name)
        if hasattr(value, "__dataclass_fields__") and name != "range":
            yield from _flat(value)
        else:
            yield name, value


def _absolute(name: str) -> str:
    file, array = parted(name)
    return str(Path(file).absolute()) + (f"::{array}" if array else "")
