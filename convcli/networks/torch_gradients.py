"""Results of ``filter`` that torch can derive: the numbers are the engine's, the gradient that of torch's own sums.

Importing this module imports torch.  No files.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from convcli.common import Missing, UsageError
from convcli.data import ITEMS, Info
from convcli.execution.pipeline import Pipeline
from convcli.jobs.chain import ConvStage
from convcli.jobs.job import Job
from convcli.networks.torch_run import box, combined, per_channel


def attached(x: torch.Tensor, result: torch.Tensor, work: Pipeline) -> torch.Tensor:
    """Return the result of a job on ``x`` as one that knows the gradient by ``x``.

    Raises
    ------
    UsageError
        For jobs that are more than convolutions: pools, ranges, brightness alone, gaps and areas.
    """
    job = work.job
    alone = all(isinstance(stage, ConvStage) and not stage.fills for stage in job.chain.stages)
    plain = job.split.plain and job.policy.keeps_numbers and not (job.info.gaps or job.areas.regions)
    if not (alone and plain and job.missing is Missing.PROPAGATE and len(job.letters) <= 3):
        raise UsageError(
            "gradients are of convolutions along up to three axes, with range='float' and without pools, gaps, luma "
            "and regions: filter tensor.detach()"
        )
    made: torch.Tensor = _Filtered.apply(x, result, job, work.source.info, work.result)
    return made


class _Filtered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, result: torch.Tensor, *about: Any) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.about = about
        return result.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        with torch.enable_grad():
            (x,) = (saved.detach().requires_grad_() for saved in ctx.saved_tensors)
            made = computed(x, *ctx.about)
        return (*torch.autograd.grad(made, x, gradient.to(made.dtype)), None, None, None, None)


def computed(x: torch.Tensor, job: Job, given: Info, result: Info) -> torch.Tensor:
    """Return what a chain of convolutions makes of ``x``, axes as in ``result``."""
    names = ITEMS + "MC" + job.letters
    present = [letter for letter in names if letter in given.letters]
    x = x.permute([given.letters.index(letter) for letter in present])
    y = x.to(getattr(torch, job.compute))[tuple(slice(None) if one in present else None for one in names)]
    for stage in job.chain.stages:
        assert isinstance(stage, ConvStage)
        y = _stage(stage, y)
    left = [letter for letter in names if letter in result.letters]  # the others have one element
    return y.reshape([result.size(letter) for letter in left]).permute(
        [left.index(letter) for letter in result.letters]
    )


def _stage(stage: ConvStage, x: torch.Tensor) -> torch.Tensor:
    """Return maps of channels (N, M, C, *space) of such."""
    kernel, windows, (n, maps, channels) = stage.kernel, stage.windows, x.shape[:3]
    weight = torch.tensor(stage.weights("float64"), dtype=x.dtype, device=x.device)
    bias = torch.tensor(kernel.bias, dtype=x.dtype, device=x.device)
    strides, dilations = [w.stride for w in windows], [w.dilation for w in windows]
    x = x.flatten(1, 2) if stage.summed else x.flatten(0, 2)[:, None]
    ends = [w.output_size(size) for w, size in zip(windows, x.shape[2:], strict=True)]
    if stage.transposed:
        full = getattr(F, f"conv_transpose{len(windows)}d")(
            x, weight.swapaxes(0, 1), stride=strides, dilation=dilations
        )
        y = box(full, [(w.before, end + w.before) for w, end in zip(windows, ends, strict=True)])
    else:
        padded = box(
            x, [w.input_range(0, end) for w, end in zip(windows, ends, strict=True)], stage.mode, stage.value
        )
        y = getattr(F, f"conv{len(windows)}d")(padded, weight, stride=strides, dilation=dilations)
    y = combined(y + per_channel(bias, y), kernel.combine, 1)
    if stage.summed:
        return y[:, :, None]
    return y.unflatten(0, (n, maps, channels)).transpose(2, 3).flatten(1, 2)
