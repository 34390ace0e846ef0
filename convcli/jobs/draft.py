"""Options and an input's form become a job: kernels are bound, and the output's type and range decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from convcli.common.choices import Channels, Nan, Precision
from convcli.data.info import Info
from convcli.jobs.bind import Settings, bind
from convcli.jobs.job import Job, canonical
from convcli.jobs.output import decide
from convcli.kernel.model import Kernel
from convcli.pixels.channels import filtered_channels
from convcli.pixels.ranges import Range


def draft(
    info: Info,
    kernels: Sequence[Kernel],
    settings: Settings,
    *,
    channels: Channels,
    range: Range | None,
    precision: Precision,
    nan: Nan,
    holds: Sequence[str],
    keeps_numbers: bool,
) -> Job:
    """Return the job of filtering one input.

    Parameters
    ----------
    info : Info
        The input's form.
    kernels : sequence of Kernel
        Applied in turn.
    settings : Settings
        The geometry that was asked for.
    range : Range, optional
        Without it, the default of the kernels and of the output's format.
    holds, keeps_numbers
        What the output can store, as `convcli.jobs.output.decide` takes it.

    Raises
    ------
    UsageError
        When the kernels do not fit the data, or options contradict each other or the output.
    """
    letters = canonical(info)
    settings = replace(settings, sum_channels=channels is Channels.SUM)
    sizes = [info.size(letter) for letter in letters]
    chain = bind(kernels, settings, letters, sizes, filtered_channels(info, channels))
    choice = decide(range, kernels, info.dtype, holds, keeps_numbers, precision)
    job = Job(info, chain, channels, choice.policy, choice.dtype, choice.compute, nan)
    job.check()
    return job


def default_rank(info: Info) -> int:
    """Return the rank of a parametric kernel that does not say it: 1 on signals, else 2."""
    return min(len(canonical(info)), 2)
