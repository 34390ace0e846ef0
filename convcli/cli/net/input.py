"""What the commands on nets share: an input as a net takes it, and the net bound to it.

Torch is loaded when all is known to fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcli.cli.net.request import Filling
from convcli.cli.shared.opened import Opened
from convcli.common import UsageError
from convcli.data.info import Colour
from convcli.jobs.job import compute_type
from convcli.networks.model import Net, check_budget, parameters_of
from convcli.networks.weights import initial, load_for

if TYPE_CHECKING:
    from convcli.networks.torch_run import TorchNet


def notes_of(input: Opened) -> tuple[str, ...]:
    """Return the notes on an input; a net takes everything but alpha."""
    left_out = ("the alpha channel is left out: a net sees colours",) * input.info.colour.has_alpha
    return (*left_out, *input.notes)


def bound(net: Net, input: Opened, filling: Filling, pixels: int | None) -> TorchNet:
    """Bind a net to an input and fill its parameters; ``pixels`` as in `convcli.common.budget.allow`."""
    try:
        steps = net.trace(net.preprocess.output(input.shape))
    except UsageError as error:
        info = input.info
        if "C" not in info.letters and len(info.letters) > 1 and info.colour is Colour.NONE:
            error.problem += (
                f" (the input's axes were taken for {info.letters}; "
                f"if the first counts channels, say --axes C{info.letters[1:]})"
            )
        raise
    check_budget(steps, input.shape, pixels)
    parameters = parameters_of(steps)
    stored = None if filling.weights is None else load_for(filling.weights, parameters)
    dtype = compute_type(input.info.dtype, filling.precision)
    arrays = initial(parameters, stored, filling.seed, pixels)
    from convcli.networks.torch_run import TorchNet

    return TorchNet.load(net, steps, arrays, dtype, filling.device)
