"""``convcli job``: how far a job is that has a folder beside its output; ends it, or verifies what it has done."""

from collections.abc import Iterator
from contextlib import chdir
from typing import Any

from convcli.cli.shared.options import ReportRequest
from convcli.cli.shared.report import show
from convcli.cli.shared.terminal import Table, clock
from convcli.common import ConvError, UsageError, frozen, parse_share
from convcli.common.options import argument, flag, option
from convcli.execution.folder import JobFolder, beside

SHOWN = 20  # failures that a person is told


@frozen(kw_only=True)
class Request(ReportRequest):
    """Show how far a large job is; verify or end it.

    Such a job has a folder OUT.job beside its output, as --workers, --part or an output of 1 GB make one.

    \b
    Examples:
      convcli job big.zarr
      convcli job big.zarr --verify 1%
      convcli job big.zarr --cancel
    """

    work = "job.job"

    output: str = argument("The output whose folder OUT.job is looked at.", metavar="OUT")
    verify: float | None = option(
        "Compute this share of the boxes that are done once more, chosen at random, and compare.",
        metavar="SHARE",
        read=parse_share,
    )
    cancel: bool = flag("End the job: what it has written is removed.")

    def __post_init__(self) -> None:
        """Refuse two things at once."""
        if self.cancel and self.verify is not None:
            raise UsageError("--verify and --cancel: give one of them")


@frozen
class State:
    """How far a job is.

    Attributes
    ----------
    workers
        Processes that are at work.
    seconds
        The mean time of a box.
    seconds_left
        At the pace of those that are at work; None where nobody is, or nothing is known.
    failed
        What the logs say of boxes that have failed and were not done later.
    """

    output: str
    boxes: int
    done: int
    workers: int
    seconds: float | None
    seconds_left: float | None
    failed: list[dict[str, Any]]


def job(request: Request) -> int:
    """Look at a job."""
    folder = JobFolder(beside(request.output))
    about = folder.about
    if request.verify is not None:
        from convcli.cli.filter.request import Verification
        from convcli.cli.program import run

        words, asked = about["command"], Verification(request.verify, [])
        with chdir(about["folder"]):  # a dry run: a spoiled folder writes nothing
            dry = [*words[:1], "--dry-run", "--quiet", *words[1:]]
            code = run(dry, verification=asked) if words[:1] == ["filter"] else 0
        if not (code or asked.told):
            raise ConvError("its job.json is spoiled: remove the folder", subject=repr(folder.path.name))
        for line in asked.told:
            show({"verified": line}, [line], request)
        return code
    if request.cancel:
        with folder.running((1, 1)):
            folder.remove()
        return 0
    rows = folder.rows()
    done = [row["seconds"] for row in rows.values() if "error" not in row]
    alive = folder.alive()
    mean = sum(done) / len(done) if done else None
    left = mean * (about["boxes"] - len(done)) / alive if mean is not None and alive else None
    failed = [row for row in rows.values() if "error" in row]
    found = State(request.output, about["boxes"], len(done), alive, mean, left, failed)
    show(found, _lines(found), request)
    return 0


def _lines(found: State) -> Iterator[str | Table]:
    share = f"{found.done} of {found.boxes} ({found.done / found.boxes:.0%})"
    pace = "" if found.seconds is None else f"{found.seconds:.3g} s a box"
    left = "" if found.seconds_left is None else clock(found.seconds_left)
    rows = [("boxes done", "failed", "workers", "pace", "time left")]
    yield Table([*rows, (share, str(len(found.failed)), str(found.workers), pace, left)])
    for row in found.failed[:SHOWN]:
        yield f"box {row['box']} failed: {row['error']}"
