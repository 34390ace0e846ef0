"""Every way in which the planner could do a job, ready to be timed: the one place that knows the planner's inside.

Used by `plan_grid.py`, which knows nothing of plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from unittest.mock import patch

import numpy as np

from convcli.common.choices import Channels, EngineName, Nan, Precision
from convcli.common.machine import available_threads
from convcli.data.info import ArraySource
from convcli.engines import algorithms
from convcli.engines.interface import Algorithm
from convcli.engines.work import Work
from convcli.execution.pipeline import Pipeline
from convcli.jobs.bind import Settings, bind
from convcli.jobs.job import Job, canonical, decide
from convcli.kernel.model import Kernel
from convcli.pixels.ranges import parse_range
from convcli.pixels.render import Tally
from convcli.plan import choose as planner
from convcli.plan.choose import Plan, choose


@dataclass(frozen=True)
class Way:
    """One plan: what it would cost by the planner's own estimate in seconds, and how to compute it."""

    estimate: float
    torch: bool
    compute: Callable[[], object]


@dataclass(frozen=True)
class Ways:
    """All plans of a job by name, and which one is chosen while torch is loaded (running) or not (starting)."""

    ways: Mapping[str, Way]
    chosen: Mapping[str, str]


def ways(array: np.ndarray, weights: np.ndarray, axes: str) -> Ways:
    """Return the plans for filtering an array with a kernel, same size and same type.

    Each plan is what the planner itself makes when one algorithm is offered only.
    """
    job, source = _job(array, weights, axes)
    plan_with = partial(
        choose,
        job.chain,
        job.stream,
        device="cpu",
        threads=available_threads(),
        dtype=job.compute,
        source=job.source_dtype,
        result=job.dtype,
    )
    found = {}
    for algorithm in chain.from_iterable(algorithms.ALGORITHMS.values()):
        uncached = patch.object(planner, "_choose", planner._choose.__wrapped__)
        with uncached, patch.object(planner, "ways", partial(_only, algorithm)):
            plan = plan_with(engine=algorithm.engine, torch_loaded=True)
        if plan.algorithms == (algorithm,):  # else it is not offered for such a job
            torch = algorithm.engine is EngineName.TORCH
            found[_name(plan)] = Way(plan.seconds, torch, _computation(job, source, plan))
    running = plan_with(engine=EngineName.AUTO, torch_loaded=True)
    starting = plan_with(engine=EngineName.AUTO, torch_loaded=False)
    return Ways(found, {"running": _name(running), "starting": _name(starting)})


def _only(algorithm: Algorithm, engine: EngineName, work: Work, _: bool) -> list[Algorithm]:
    """Return one algorithm where it is offered, in place of `convcli.engines.algorithms.ways`."""
    offered = algorithms.ways(engine, work)
    return [algorithm] if algorithm in offered else offered


def _name(plan: Plan) -> str:
    return f"{plan.engine} {' + '.join(map(str, plan.algorithms))}"


def _job(array: np.ndarray, weights: np.ndarray, axes: str) -> tuple[Job, ArraySource]:
    source = ArraySource(array, axes)
    info, kernel = source.info, Kernel.from_array(weights)
    letters = canonical(info)
    bound = bind([kernel], Settings(), letters, [info.size(letter) for letter in letters], info.channels)
    policy = parse_range("float" if array.dtype.kind == "f" else "clip")
    types = ("float32", "float64", info.dtype)
    choice = decide(policy, [kernel], info.dtype, types, True, Precision.AUTO)
    job = Job(info, bound, Channels.EACH, choice.policy, choice.dtype, choice.compute, Nan.PROPAGATE)
    job.check()
    return job, source


def _computation(job: Job, source: ArraySource, plan: Plan) -> Callable[[], object]:
    def compute() -> None:
        pipeline = Pipeline(job, source)
        pipeline.plan = plan
        for _ in pipeline.blocks(Tally()):
            pass

    return compute
