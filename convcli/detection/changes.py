"""Changes of the whole picture, which are no motion: what each is, from its frames and from how the light goes."""

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
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
_WIDE = 0.6  # of the picture, at least, differs after a dissolve
_STRAIGHT = 0.2  # of what differs, at most, is no mixture (measured: 0.04 to 0.15; objects from 0.6)
_SLOPES = 0.15  # of a change, squared, at least, lies along the slopes of a scene that a camera moves (dissolves: 0.07)
_ALIKE = 0.7  # the cosine between changes of two scenes: more is the same change
_FRAMES = 4  # at least: of three, anything is nearly a mixture
_PAUSE = 0.5  # seconds of steady light end a flicker


class Kind(StrEnum):
    """What changes the whole picture."""

    CUT = "cut"
    INFRARED = "infrared switch"
    LAMP = "lamp"
    FADE = "fade"
    DISSOLVE = "dissolve"
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
        sudden = self.end - self.start <= _SUDDEN
        span = f"at {self.start:.3f}" if sudden else f"{self.start:.3f} to {self.end:.3f}"
        return f"{self.kind} {span} s"


def scene_of(frame: np.ndarray) -> np.ndarray:
    """Return a frame's scene: the means (Y, X) of its blocks."""
    return per_block(frame, max(min(frame.shape) // _ACROSS, 8), partial(np.mean, dtype=float))


def is_dissolve(scenes: Sequence[np.ndarray]) -> bool:
    """Say whether scenes, in grey levels, go straight from the first to the last, which differ nearly everywhere.

    Pictures that dissolve are mixtures of both.  What moves is none, nor is what comes and goes, nor what a camera
    sees that moves, zooms or turns by a little.

    >>> first, last = np.random.default_rng(3).uniform(0, 200, (2, 12, 16))
    >>> mixed = [first + (last - first) * share for share in (0, 0.2, 0.5, 1)]
    >>> is_dissolve(mixed), is_dissolve([np.roll(first, step, axis=1) for step in range(4)])
    (True, False)
    """
    if len(scenes) < _FRAMES:
        return False
    way = np.stack(scenes) - scenes[0]
    whole = way[-1]
    size = float((whole * whole).mean())
    share = (way * whole).mean(axis=(1, 2), keepdims=True) / max(size, 1e-9)
    beside = ((way - share * whole) ** 2).mean(axis=(1, 2)).max()
    mixed = (np.abs(whole) >= _STEP).mean() >= _WIDE and beside <= _STRAIGHT**2 * size
    return bool(mixed and not (min(whole.shape) > 1 and _by_camera(scenes[0], scenes[-1])))


def _by_camera(first: np.ndarray, last: np.ndarray) -> bool:
    """Say whether a scene is another one that is moved, enlarged or turned by a little: it changes along its slopes."""
    y, x = np.ogrid[: first.shape[0], : first.shape[1]]
    down, right = np.gradient((first + last) / 2)
    ways = np.stack([down, right, y * down + x * right, x * down - y * right]).reshape(4, -1).T
    change = (last - first).ravel()
    left = change - ways @ np.linalg.lstsq(ways, change, rcond=None)[0]
    return bool((left * left).sum() <= (1 - _SLOPES) * (change * change).sum())


def go_one_way(scenes: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
    """Say whether scenes go the way that others go."""
    return len(scenes) > 1 and _cosine(scenes[-1] - scenes[0], others[-1] - others[0]) >= _ALIKE


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-9))


def kind_of(before: np.ndarray, after: np.ndarray) -> Kind:
    """Say what has happened between two scenes.

    A cut shows other outlines.  Light leaves them where they are, and what was lighter than its neighbour stays so; in
    infrared, materials are light and dark in another way.

    >>> scene = 9 * np.random.default_rng(3).random((64, 96))
    >>> [str(kind_of(scene, other)) for other in (2 * scene, 9 - scene, scene[::-1])]
    ['lamp', 'infrared switch', 'cut']
    """
    if before.size < 2:
        return Kind.LAMP  # without outlines, light alone can have changed
    scenes = (before, after)
    steps = np.stack(
        [np.concatenate([np.diff(scene, axis=axis).ravel() for axis in (0, 1)]) for scene in scenes]
    )
    sizes = np.abs(steps) - np.abs(steps).mean(axis=1, keepdims=True)
    same, outlines = _cosine(*steps), _cosine(*sizes)
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
        if not groups or change.start - groups[-1][-1].end > _PAUSE:
            groups.append([])
        groups[-1].append(change)
    for group in groups:
        if len(group) >= _TURNS:
            group[:] = [Change(Kind.FLICKER, group[0].start, group[-1].end)]
    return [each for group in groups for each in group]


# The gain and the offset between two frames, whatever moves in them

_POINTS = 4096  # that are compared, each the mean of some pixels side by side
_SIDE = 8  # pixels
_GROUPS = 16  # of about the same brightness
_PAIRS = 32  # of groups, at least, that say something about the gain: some three against all others
_APART = 0.3  # of what all span: groups closer than this tell little about the gain
_SMALLEST = 0.5 / 255  # of white: a change of less is none


@frozen
class Light:
    """A frame's light in terms of another's: ``gain · frame + offset``."""

    gain: float
    offset: float
    change: float  # the most that it makes of any brightness in the scene

    def applied(self, frame: np.ndarray, white: float) -> np.ndarray:
        """Return a frame in the other's light, of its own type."""
        if frame.dtype.kind == "f":
            return frame * np.float32(self.gain) + np.float32(self.offset)
        if frame.dtype == np.uint8:
            return self.applied(np.arange(256, dtype=np.uint16), white).astype(np.uint8)[frame]
        return self.applied(frame.astype(np.float32), white).clip(0, white).round().astype(frame.dtype)


def light_change(before: np.ndarray, after: np.ndarray, white: float) -> Light | None:
    """Return by what gain and offset the light of a scene (Y, X) has changed, or that it has not.

    Medians of groups of about the same brightness, and the median of the slopes between them (Theil and Sen), so that
    what moves, in less than a third of the picture, has no say.  Black and white are left out: they are clipped.
    """
    columns = before.shape[1] // _SIDE * _SIDE
    rows = max(before.shape[0] * columns // (_SIDE * _POINTS), 1)
    x, y = (
        frame[rows // 2 :: rows, :columns].reshape(-1, _SIDE).mean(axis=1, dtype=np.float32)
        for frame in (before, after)
    )
    inside = (np.minimum(x, y) > white / 255) & (np.maximum(x, y) < 0.99 * white)
    x, y = x[inside], y[inside]
    if len(x) < 2 * _GROUPS:
        return None
    order = np.argsort(x + y)  # by both, so that noise does not flatten the slope
    order = order[: len(order) // _GROUPS * _GROUPS].reshape(_GROUPS, -1)
    x, y = np.median(x[order], axis=1), np.median(y[order], axis=1)
    rise, run = y[:, None] - y, x[:, None] - x
    apart = run > max(_APART * np.ptp(x), 2 * white / 255)
    gain = float(np.median(rise[apart] / run[apart])) if apart.sum() >= _PAIRS else 1.0
    offset = float(np.median(y - gain * x))
    change = float(np.abs(gain * x + offset - x).max())
    worse = np.median(np.abs(gain * x + offset - y)) - np.median(np.abs(x - y))
    return Light(gain, offset, change) if worse < _SMALLEST * white < change else None
