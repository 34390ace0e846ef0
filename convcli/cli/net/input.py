"""What the commands on nets share: the net bound to an input.

Torch is loaded when all is known to fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from convcli.cli.net.request import Filling
from convcli.cli.shared.opened import Opened, opened
from convcli.common import UsageError, about, counted
from convcli.data import Colour
from convcli.geometry.graph import Shape, Step
from convcli.jobs.job import compute_type
from convcli.media.options import ReadOptions
from convcli.networks.model import Net, check_budget, parameters_of
from convcli.networks.parse import load_net
from convcli.networks.weights import initial

if TYPE_CHECKING:
    from convcli.networks.torch_run import TorchNet


Models = dict[tuple[Shape, str], "TorchNet"]


@contextmanager
def fed(
    net: Net,
    name: str,
    reading: ReadOptions,
    filling: Filling,
    *,
    batch: bool = False,
    models: Models | None = None,
) -> Iterator[tuple[Opened, TorchNet]]:
    """Open an input for a net, and bind the net to it; errors within name the input, as in `opened`.

    ``models`` keeps what was bound: inputs of one form share it.
    """
    with opened(name, reading, batch=batch) as input:
        models = {} if models is None else models
        form = input.shape, input.info.dtype
        if form not in models:
            models[form] = _bound(net, input, filling, reading.max_pixels)
        yield input, models[form]


def _bound(net: Net, input: Opened, filling: Filling, pixels: int | None) -> TorchNet:
    """Bind a net to an input and fill its parameters; ``pixels`` as in `convcli.common.budget.allow`."""
    if net.reread is not None and net.input != input.shape:
        net = load_net(net.reread, given=input.shape)
    given, steps = input.shape, tuple[Step, ...]()
    try:
        steps = net.trace(given := net.preprocess.output(given))
        with about(net.title):
            check_budget(steps, input.shape, pixels)
            arrays = initial(parameters_of(steps), filling.weights, filling.seed, pixels)
    except UsageError as error:
        info, declared = input.info, net.input and net.preprocess.output(net.input)
        misfit = not steps
        if declared and declared.channels != given.channels:
            misfit, error.subject = True, ""
            error.problem = (
                f"the net takes {counted(declared.channels, 'channel')}, and it has {given.channels}"
            )
        if misfit and "C" not in info.letters and len(info.letters) > 1 and info.colour is Colour.NONE:
            error.problem += (
                f" (the input's axes were taken for {info.letters}; "
                f"if the first counts channels, say --axes C{info.letters[1:]})"
            )
        raise
    dtype = compute_type(input.info.dtype, filling.precision)
    from convcli.networks.torch_run import TorchNet

    return TorchNet.load(net, steps, arrays, dtype, filling.device)
