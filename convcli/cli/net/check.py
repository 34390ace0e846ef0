"""``convcli net check``: measure, and lay out the table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convcli.cli.net.input import fed
from convcli.cli.net.request import CheckRequest
from convcli.cli.shared import report
from convcli.cli.shared.opened import Opened
from convcli.cli.shared.terminal import Table
from convcli.common import Precision, UsageError, frozen
from convcli.geometry.graph import lint
from convcli.networks.parse import load_net

if TYPE_CHECKING:
    from convcli.networks.check import Finding
    from convcli.networks.torch_run import TorchNet


def check(request: CheckRequest) -> None:
    """Read the net, which tells what is wrong with it before torch loads, and check it."""
    net = load_net(request.net, request.num_classes)
    filling = replace(request.filling, precision=Precision.FLOAT64)
    with fed(net, request.input, request.reading, filling) as (input, model):
        _check(request, input, model)


def _check(request: CheckRequest, input: Opened, model: "TorchNet") -> None:
    from convcli.networks.check import measure  # loads torch

    if request.along not in tuple(input.letters):
        raise UsageError(f"--along {request.along.lower()}: the input has {', '.join(input.letters.lower())}")
    axis = input.letters.index(request.along)
    size = model.steps[0].input.sizes[axis]
    if request.shifts[-1] >= size:
        raise UsageError(f"--shifts: {request.shifts[-1]} is not less than the input's {size} elements")
    findings = measure(model, input.opaque(), request.shifts, axis)
    notes = (*input.opaque_notes, *lint(model.steps, shifts=True))
    found = Checked(request.input, input.grain, findings, notes)
    report.show(found, [_table(findings, request.shifts)], request)


@frozen
class Checked:
    """How the layers of a net follow shifts of an input."""

    input: str
    grain: Mapping[str, Any] | None
    layers: "Sequence[Finding]"
    notes: Sequence[str]


def _table(findings: "Sequence[Finding]", shifts: Sequence[int]) -> Table:
    rows = [("layer", "period", "holds at", "error", "elsewhere", "unmoved")]
    for found in findings:
        unmoved = f"{found.unmoved[shifts[0]]:.2g} … {found.unmoved[shifts[-1]]:.2g}"
        errors = _error(found.error), _error(found.elsewhere)
        rows.append(
            (found.layer, f"{float(found.period):g}", _spans(found.holds_at) or "-", *errors, unmoved)
        )
    return Table(rows)


def _error(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _spans(numbers: Sequence[int]) -> str:
    """Write numbers shortly.

    >>> _spans([1, 2, 3, 4, 8]), _spans([2, 4, 6])
    ('1-4,8', '2,4,6')
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)
