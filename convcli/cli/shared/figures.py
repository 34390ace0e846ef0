"""Figures with axes, which matplotlib draws: an extra, loaded when one is asked for."""

import importlib
import io
from pathlib import Path
from typing import Any

from convcli.common import ConvError, UsageError
from convcli.media.files.target import check_output, output, shown

SUFFIXES, PAGE = (".png", ".svg", ".pdf"), ".html"
_UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}  # the same figure, the same file
_FIXED = {"svg.hashsalt": "convcli"}


def check(
    name: str, *, force: bool, else_: str = "", others: tuple[str, ...] = (), page: bool = False
) -> None:
    """Refuse what could not be drawn or written.

    Parameters
    ----------
    else_
        What needs no matplotlib.
    others
        Further suffixes that the caller writes itself.
    page
        Whether it may be a page too.

    Raises
    ------
    UsageError
        For another suffix.
    ConvError
        Where matplotlib is missing; else as `convcli.media.files.target.output`.
    """
    drawn = (*SUFFIXES, PAGE) if page else SUFFIXES
    suffix = Path(name).suffix.lower()
    if suffix not in (*others, *drawn):
        raise UsageError(f"a figure is written as {', '.join((*others, *drawn))}", subject=shown(name))
    if suffix in drawn:
        try:
            importlib.import_module("matplotlib.figure")
        except ImportError:
            raise ConvError(
                f'drawing a figure needs matplotlib: pip install "convcli[plot]"{else_}', subject=shown(name)
            ) from None
    check_output(name, force=force, binary=suffix in SUFFIXES)


def figure(width: float, height: float) -> Any:
    """Return an empty figure of a size in inches of 120 pixels."""
    made = importlib.import_module("matplotlib.figure")
    return made.Figure(figsize=(width, height), dpi=120, layout="constrained")


def save(drawn: Any, name: str, *, force: bool) -> None:
    """Write a figure whose name was checked; a page needs nothing else."""
    suffix, made = Path(name).suffix.lower(), io.BytesIO()
    form = ".svg" if suffix == PAGE else suffix
    with importlib.import_module("matplotlib").rc_context(_FIXED):
        drawn.savefig(made, format=form[1:], metadata=_UNDATED.get(form))
    content = made.getvalue()
    if suffix == PAGE:
        content = (
            b"<!doctype html><meta charset=utf-8><title>convcli</title>\n" + content[content.index(b"<svg") :]
        )
    with output(name, force=force) as file:
        file.write(content)
