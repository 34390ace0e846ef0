"""Changes of the whole picture, which are no motion: what each is, from frames and from how the light goes."""

from collections.abc import Sequence
from enum import StrEnum
from itertools import groupby

import numpy as np

from convcli.common import frozen
from convcli.detection.noise import per_block

_ACROSS = 30  # blocks along the shorter side, of 8 pixels at least, whose outlines are compared
_SAME = 0.6  # the cosine between steps of brightness: more is the same scene in other light
_OUTLINES = 0.25  # the correlation of their sizes: less is another scene
_STEP = 0.4  # grey levels: a change of light between two frames is at least so large
_ALL = 6.0  # grey levels: and so large as long as it goes on
_SUDDEN = 0.2  # seconds: what takes longer is a fade
_TURNS = 4  # a light that turns around as often flickers
_PAUSE = 0.5  # seconds of steady light end a flicker


class Kind(StrEnum):
    """What changes the whole picture."""

    CUT = "cut"
    INFRARED = "infrared switch"
    LAMP = "lamp"
    FADE = "fade"
    FLICKER = "flicker"


@frozen
class Change:
    """A change of the whole picture; from when until when, in seconds."""

    kind: Kind
    start: float
    end: float

    facts = ("kind", "start", "end")

    def meets(self, other: "Change") -> bool:
        """Say whether both go on at the same time, or one right after the other."""
        return self.start <= other.end + _SUDDEN and other.start <= self.end + _SUDDEN

    def __str__(self) -> str:
        span = (
            f"at {self.start:.3f}"
            if self.end - self.start <= _SUDDEN
            else f"{self.start:.3f} to {self.end:.3f}"
        )
        return f"{self.kind} {span} s"


def kind_of(before: np.ndarray, after: np.ndarray) -> Kind:
    """Say what has happened at once between two frames (Y, X).

    A cut shows other outlines.  Light leaves them where they are, and what was lighter than its neighbour stays so; in
    infrared, materials are light and dark in another way.

    >>> scene = 9 * np.random.default_rng(3).random((64, 96)).repeat(8, 0).repeat(8, 1)
    >>> [str(kind_of(scene, other)) for other in (2 * scene, 9 - scene, scene[::-1])]
    ['lamp', 'infrared switch', 'cut']
    """
    side = max(min(before.shape) // _ACROSS, 8)
    means = [per_block(frame.astype(float), side, np.mean) for frame in (before, after)]
    steps = np.stack(
        [np.concatenate([np.diff(mean, axis=axis).ravel() for axis in (0, 1)]) for mean in means]
    )
    sizes = np.abs(steps) - np.abs(steps).mean(axis=1, keepdims=True)
    same, outlines = (
        float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-9)) for a, b in (steps, sizes)
    )
    if same >= _SAME:
        return Kind.LAMP
    return Kind.INFRARED if outlines >= _OUTLINES else Kind.CUT


def changes_of_light(shifts: Sequence[tuple[float, float, float]]) -> "list[Change]":
    """Return where the light of a whole clip changes.

    Parameters
    ----------
    shifts : sequence of (time, end, levels)
        For each frame when it is shown, and by how many grey levels it is lighter than the one before.
    """
    found: list[Change] = []
    for sign, run in groupby(shifts, lambda shift: np.sign(shift[2]) if abs(shift[2]) >= _STEP else 0):
        part = list(run)
        if not sign or abs(sum(levels for *_, levels in part)) < _ALL:
            continue
        start, end = part[0][0], part[-1][1]
        kind = Kind.LAMP if end - start <= _SUDDEN else Kind.FADE
        found.append(Change(kind, start, end))
    return _flickers(found)


def _flickers(changes: "list[Change]") -> "list[Change]":
    """Join changes that follow each other so often that the light flickers."""
    groups: list[list[Change]] = []
    for change in changes:
        if groups and change.start - groups[-1][-1].end <= _PAUSE:
            groups[-1].append(change)
        else:
            groups.append([change])
    return [
        each
        for group in groups
        for each in ([Change(Kind.FLICKER, group[0].start, group[-1].end)] if len(group) >= _TURNS else group)
    ]
