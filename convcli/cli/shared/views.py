"""A result beside what it was made of: curves of signals, sounds and tables, pictures, frames of clips and volumes.

matplotlib draws files, in `convcli.cli.shared.figures`; the terminal gets text.
"""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convcli.cli.shared import figures
from convcli.cli.shared.drawing import curve, pictures
from convcli.cli.shared.opened import opened
from convcli.cli.shared.terminal import WIDTH
from convcli.common import frozen
from convcli.data import Axis, Even, channels_first
from convcli.media.files.target import shown
from convcli.media.options import ReadOptions

FRAMES = 4  # of a clip or a volume in the terminal
_PANELS = 6  # channels that are drawn
_DOTTED = 100  # samples of a curve that are drawn as dots too, up to so many
_POINTS = 20_000  # of a curve; of more, the least and the largest of each run are drawn


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
        return cls.several(name, options, 1)[0]

    @classmethod
    def several(cls, name: str, options: ReadOptions, count: int) -> "list[View]":
        """Read a signal whole; of a clip or a volume, so many pictures, evenly spread over it."""
        with opened(name, options, batch=True, shared=True) as file:
            one = next(file.items())
            letters, info = one.letters, one.info
            sizes = {letter: info.size(letter) for letter in letters}
            along = [letter for letter in "TZ" if letter in sizes and len(sizes) > 1]
            most = min(count, sizes[along[0]]) if along else 1
            found = []
            for number in range(most):
                middle = {at: sizes[at] // 2 for at in along}
                if along:
                    middle[along[0]] = (2 * number + 1) * sizes[along[0]] // (2 * most)
                box = tuple(
                    (middle.get(at, 0), middle[at] + 1 if at in middle else n) for at, n in sizes.items()
                )
                found.append(channels_first(one.source, letters, box))
        whole = np.iinfo(found[0].dtype).max if found[0].dtype.kind in "iu" else None
        axis, places = info.axis(letters[-1]), places_of(info.axis(letters[-1]))
        unit = "sample" if places is None or axis.positions is None else axis.positions.unit
        places = np.arange(float(axis.size)) if places is None else places
        own = tuple(number for number, letter in enumerate(letters, 1) if letter in along)
        return [
            cls(
                Path(name).name,
                values[: len(values) - info.colour.has_alpha].squeeze(own),
                places,
                unit,
                info.white or whole,
            )
            for values in found
        ]

    @classmethod
    def array(cls, name: str, values: np.ndarray) -> "View":
        """Return an array (samples), (rows, columns) or (channels, rows, columns) as what is drawn."""
        values = values if values.ndim == 3 else values[None]
        white = float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else None
        return cls(name, values, np.arange(float(values.shape[-1])), "sample", white)

    @property
    def picture(self) -> np.ndarray:
        """Brightnesses from 0 to 1, (rows, columns) or with three colours; floats fill that range."""
        colours = self.values if len(self.values) == 3 else self.values[0]
        seen = np.nan_to_num(colours.astype(float))
        low, high = (0.0, self.white) if self.white else (seen.min(), seen.max())
        seen = ((seen - low) / ((high - low) or 1.0)).clip(0, 1)
        return np.moveaxis(seen, 0, -1) if seen.ndim == 3 else seen


def places_of(axis: Axis) -> np.ndarray | None:
    """Return the positions of an axis, None where it has none or one of them is unknown."""
    positions = axis.positions
    if isinstance(positions, Even):
        return float(positions.origin) + float(positions.spacing) * np.arange(axis.size)
    at = [None if positions is None else positions.at(number) for number in range(axis.size)]
    return None if None in at else np.array(at, float)


Bar = tuple[str, tuple[float, float]]  # a colour map, and the values of its ends


def figure(before: View, after: View, bar: Bar | None = None) -> Any:
    """Draw an input beside its result: over one axis if both are curves, else as pictures, with a bar of colours."""
    curves = before.values.ndim == after.values.ndim == 2
    return _curves(before, after) if curves else _pictures(before, after, bar)


def _curves(before: View, after: View) -> Any:
    """Draw input and result over one axis, a panel for each channel; each of several maps with the first channel."""
    rows = min(max(len(before.values), len(after.values)), _PANELS)
    alike = len(before.values) == len(after.values)
    figure = figures.figure(8, 1.2 + 2.2 * rows)
    for row in range(rows):
        axes = figure.add_subplot(rows, 1, row + 1, xlabel=before.unit if row == rows - 1 else "")
        first, second = before.values[row if alike else 0], after.values[min(row, len(after.values) - 1)]
        mark = "." if max(first.size, second.size) <= _DOTTED else ""
        axes.plot(*_thinned(before.places, first), marker=mark, color="0.55", label=before.name)
        axes.plot(*_thinned(after.places, second), "--", marker=mark, color="C0", label=after.name)
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


def _pictures(before: View, after: View, bar: Bar | None) -> Any:
    """Draw the input, the result, and their difference if they have one size.

    A result whose colours stand for values has their ``bar`` beside it.
    """
    comparable = before.values.shape == after.values.shape and bar is None
    figure = figures.figure(4 * (2 + comparable), 3.6)
    for number, view in enumerate((before, after), 1):
        axes = figure.add_subplot(1, 2 + comparable, number, title=view.name)
        if view.values.ndim == 2:
            axes.plot(*_thinned(view.places, view.values[0]))
            continue
        axes.imshow(view.picture, cmap="gray", vmin=0, vmax=1)
        if bar and view is after:
            cm, span = (importlib.import_module(f"matplotlib.{name}") for name in ("cm", "colors"))
            figure.colorbar(cm.ScalarMappable(span.Normalize(*bar[1]), bar[0]), ax=axes, shrink=0.8)
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


def lines(*several: Sequence[View]) -> Iterator[str]:
    """Yield drawings for a terminal, at most `WIDTH` characters wide: of each input or result its one view, or some."""
    across = max(2, *map(len, several))
    flat = [view for one in several for view in one]
    ends = np.concatenate([view.places for view in flat if view.values.ndim == 2] or [np.zeros(1)])
    start, stop = float(ends.min()), float(ends.max())
    drawn = []
    for view in flat:
        if view.values.ndim == 2:
            values = view.values[0].astype(float)
            known = values[np.isfinite(values)]
            low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
            channel = f", channel 1 of {len(view.values)}" * (len(view.values) > 1)
            unit = "samples" if view.unit == "sample" else view.unit
            over = f"over {start:g} to {stop:g} {unit}".rstrip()
            yield f"{shown(view.name)}{channel}: {low:g} to {high:g}, {over}"
            places = (view.places - start) / ((stop - start) or 1.0)
            yield from curve((values - low) / ((high - low) or 1.0), WIDTH - 3, places)
            continue
        drawn.append(view.picture)
    yield from pictures(drawn, across)
