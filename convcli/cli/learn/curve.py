"""The loss over the epochs as a file: a table, or a picture drawn with matplotlib, which is an extra."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convcli.common import ConvError, UsageError
from convcli.learning.training import Epoch
from convcli.media.files.target import check_output, output, shown

TABLE, PICTURES = ".csv", (".png", ".svg", ".pdf")


def check(names: Sequence[str], *, force: bool) -> None:
    """Refuse, before the training, what could not be written after it."""
    for name in names:
        suffix = Path(name).suffix.lower()
        if suffix != TABLE and suffix not in PICTURES:
            raise UsageError(f"a curve is written as {', '.join((TABLE, *PICTURES))}", subject=shown(name))
        if suffix in PICTURES:
            _matplotlib(name)
        check_output(name, force=force, binary=suffix in PICTURES)


def write(name: str, curve: Sequence[Epoch], title: str, *, force: bool) -> None:
    """Write one file."""
    suffix = Path(name).suffix.lower()
    if suffix == TABLE:
        with output(name, force=force, binary=False) as file:
            file.write(_table(curve).encode())
        return
    with output(name, force=force, seeks=True) as file:
        _figure(name, curve, title).savefig(file, format=suffix[1:], metadata=_UNDATED.get(suffix))


_UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}  # the same training, the same file


def _table(curve: Sequence[Epoch]) -> str:
    watched = any(epoch.watched is not None for epoch in curve)
    lines = ["epoch,loss" + ",watched" * watched]
    for epoch in curve:
        lines.append(f"{epoch.number},{epoch.loss!r}" + f",{epoch.watched!r}" * watched)
    return "\n".join(lines) + "\n"


def _matplotlib(name: str) -> Any:
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError:
        raise ConvError(
            'drawing the curve needs matplotlib: pip install "convcli[plot]"; .csv needs nothing',
            subject=shown(name),
        ) from None


def _figure(name: str, curve: Sequence[Epoch], title: str) -> Any:
    figure = _matplotlib(name).Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    numbers = [epoch.number for epoch in curve]
    axes.plot(numbers, [epoch.loss for epoch in curve], label="while learning")
    if any(epoch.watched is not None for epoch in curve):
        axes.plot(numbers, [epoch.watched for epoch in curve], "--", label="watched")
        axes.legend()
    if all(epoch.loss > 0 for epoch in curve):
        axes.set_yscale("log")
    axes.set(title=title, xlabel="epoch", ylabel="loss")
    axes.grid(visible=True, alpha=0.3)
    return figure
