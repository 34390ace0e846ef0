"""Input and result side by side: curves of signals, sounds and tables, pictures and the middle of clips and volumes.

matplotlib draws the files, in `convcli.cli.shared.figures`; the terminal gets text.
"""

import difflib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from convcli.cli.filter.request import Request
from convcli.cli.shared import figures
from convcli.cli.shared.drawing import bars, shaded, side_by_side
from convcli.cli.shared.opened import opened
from convcli.cli.shared.terminal import WIDTH
from convcli.common import UsageError, frozen, quoted
from convcli.data.info import channels_first
from convcli.media import registry
from convcli.media.files.target import STANDARD, shown
from convcli.media.options import ReadOptions

_PANELS = 6  # channels that are drawn
_POINTS = 20_000  # of a curve; of more, the least and the largest of each run are drawn


def check(request: Request) -> None:
    """Refuse, before any work, what could not be drawn."""
    if STANDARD in (*request.inputs, request.output):
        raise UsageError("--plot reads input and result again: both must be files")
    if request.plot != STANDARD:
        figures.check(_named(request)[1], force=request.force, page=True)
        _named(request, known=True)


def _named(request: Request, *, known: bool = False) -> tuple[str, str]:
    """Return the colour map, empty where none is named, and the file of ``MAP:FILE``; whether there is such a map."""
    colours, colon, name = str(request.plot).partition(":")
    if not colon or len(colours) < 2 or not colours.isidentifier():  # a file, perhaps on a drive
        return "", str(request.plot)
    if known:
        maps = importlib.import_module("matplotlib").colormaps
        if colours not in maps:
            near = difflib.get_close_matches(colours, [*maps], n=1) or ["viridis, magma, coolwarm or gray"]
            raise UsageError(f"matplotlib has no colour map {quoted(colours)}; try {near[0]}")
    return colours, name


@frozen
class View:
    """What is drawn of a file.

    Attributes
    ----------
    name : str
    values : numpy.ndarray
        (channels, samples), or (channels, rows, columns) of a picture.
    places : numpy.ndarray
        Where the samples lie along the last axis, in `unit`; the number of each where nobody knows.
    white : float, optional
        Of a picture.
    """

    name: str
    values: np.ndarray
    places: np.ndarray
    unit: str
    white: float | None

    @classmethod
    def of(cls, name: str, options: ReadOptions) -> "View":
        """Read a signal whole; of a clip or a volume, the picture in the middle."""
        with opened(name, options, batch=True) as file:
            one = next(file.items())
            letters, info = one.letters, one.info
            sizes = {letter: info.size(letter) for letter in letters}
            middle = {letter: n // 2 for letter, n in sizes.items() if letter in "TZ" and len(sizes) > 1}
            box = tuple((middle.get(at, 0), middle[at] + 1 if at in middle else n) for at, n in sizes.items())
            values = channels_first(one.source, letters, box)
        values = values[: len(values) - info.colour.has_alpha]
        values = values.squeeze(tuple(number for number, at in enumerate(letters, 1) if at in middle))
        positions, count = info.axis(letters[-1]).positions, sizes[letters[-1]]
        found = [None if positions is None else positions.at(number) for number in range(count)]
        unit = "sample" if positions is None or None in found else positions.unit
        places = np.array(range(count) if None in found else found, float)
        whole = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else None
        return cls(Path(name).name, values, places, unit, info.white or whole)

    @property
    def picture(self) -> np.ndarray:
        """Brightnesses from 0 to 1, (rows, columns) or with three colours; floats fill that range."""
        colours = self.values if len(self.values) == 3 else self.values[0]
        seen = np.nan_to_num(colours.astype(float))
        low, high = (0.0, self.white) if self.white else (seen.min(), seen.max())
        seen = ((seen - low) / ((high - low) or 1.0)).clip(0, 1)
        return np.moveaxis(seen, 0, -1) if seen.ndim == 3 else seen


def draw(request: Request, before: str, after: str, letters: str) -> None:
    """Draw an input beside its result, as ``--plot`` says; ``letters`` are those of the result's axes."""
    letters = letters.replace("M", "N" if "C" in letters else "C")
    unnamed = registry.readable(after).name == "npy" and len(letters) > 1  # which holds no names of axes
    views = View.of(before, request.reading), View.of(after, ReadOptions(axes=letters if unnamed else None))
    if request.plot == STANDARD:
        sys.stdout.writelines(f"{line}\n" for line in _lines(*views))
        return
    colours, name = _named(request)
    curves = views[0].values.ndim == views[1].values.ndim == 2
    figure = _curves(*views) if curves else _pictures(*views, colours)
    figures.save(figure, name, force=request.force)


def _curves(before: View, after: View) -> Any:
    """Draw input and result over one axis, a panel for each channel; each of several maps with the first channel."""
    rows = min(max(len(before.values), len(after.values)), _PANELS)
    alike = len(before.values) == len(after.values)
    figure = figures.figure(8, 1.2 + 2.2 * rows)
    for row in range(rows):
        axes = figure.add_subplot(rows, 1, row + 1, xlabel=before.unit if row == rows - 1 else "")
        first, second = before.values[row if alike else 0], after.values[min(row, len(after.values) - 1)]
        axes.plot(*_thinned(before.places, first), color="0.55", label=before.name)
        axes.plot(*_thinned(after.places, second), "--", color="C0", label=after.name)
        axes.grid(visible=True, alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _thinned(places: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest of each run, so that a long curve looks the same."""
    run = -(-2 * len(values) // _POINTS)
    if run < 3:
        return places, values
    whole = len(values) // run * run
    runs, starts = values[:whole].reshape(-1, run), np.arange(0, whole, run)
    kept = np.sort(np.stack([starts + runs.argmin(1), starts + runs.argmax(1)], axis=1), axis=1).ravel()
    return places[kept], values[kept]


def _pictures(before: View, after: View, colours: str) -> Any:
    """Draw the input, the result, and their difference if they have one size.

    With a colour map brightnesses are drawn in its colours, from the least to the largest, with a bar of the values.
    """
    comparable = before.values.shape == after.values.shape
    figure = figures.figure(4 * (2 + comparable), 3.6)
    for number, view in enumerate((before, after), 1):
        axes = figure.add_subplot(1, 2 + comparable, number, title=view.name)
        if view.values.ndim == 2:
            axes.plot(*_thinned(view.places, view.values[0]))
            continue
        if colours:
            drawn = axes.imshow(view.values.mean(axis=0), cmap=colours)
            figure.colorbar(drawn, ax=axes, shrink=0.8)
        else:
            axes.imshow(view.picture, cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
    if comparable:
        difference = after.values.astype(float) - before.values
        largest = np.abs(difference).argmax(axis=0, keepdims=True)
        difference = np.take_along_axis(difference, largest, axis=0)[0]
        most = float(np.nanmax(np.abs(difference), initial=0)) or 1.0
        axes = figure.add_subplot(1, 3, 3, title="difference")
        shown = axes.imshow(difference, cmap="RdBu", vmin=-most, vmax=most)
        axes.set_axis_off()
        figure.colorbar(shown, ax=axes, shrink=0.8)
    return figure


def _lines(before: View, after: View) -> Iterator[str]:
    """Yield a drawing for a terminal, at most `WIDTH` characters wide."""
    drawn = []
    for view in (before, after):
        if view.values.ndim == 2:
            values = np.nan_to_num(view.values[0].astype(float))
            low, high = float(values.min()), float(values.max())
            parts = np.array_split(values, min(WIDTH - 3, len(values)))
            ends = f"{view.places[0]:g} to {view.places[-1]:g} {view.unit}".rstrip()
            yield f"{shown(view.name)}: {low:g} to {high:g}, over {ends}"
            yield from bars([(part.mean() - low) / ((high - low) or 1.0) for part in parts])
            continue
        picture = view.picture
        step = max(-(-picture.shape[1] // (WIDTH // 2 - 3)), 1)
        rows, columns = (max(n // step, 1) for n in picture.shape[:2])
        cut = picture[: rows * step, : columns * step]
        drawn.append(
            shaded(cut.reshape(rows, -1, columns, cut.shape[1] // columns, *cut.shape[2:]).mean(axis=(1, 3)))
        )
    most = max(map(len, drawn), default=0)
    yield from side_by_side([lines + [""] * (most - len(lines)) for lines in drawn], 2)
