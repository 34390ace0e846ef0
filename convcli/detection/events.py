"""Events: stretches of time in which something moves, found frame by frame as results come, in regions of a mask."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from convcli.common import frozen
from convcli.detection.changes import Change, Kind, changes_of_light, go_one_way, is_dissolve, kind_of
from convcli.detection.noise import Limits

GLOBAL = 0.4  # of the picture: what changes at once in so much of it is not an object
MUCH, SWITCHED = 0.2, 8.0  # of the picture, where most of it is so many grey levels lighter or darker
LIT = 2.0  # grey levels: where most of the picture is so much lighter or darker, it is the light
SCENES = 1024  # that are kept; of more every second
NEAR = 1.0  # seconds between pieces of one dissolve, at most
CUT = 2  # results: a change of the whole picture that lasts longer is motion, as of a camera
# Times the pixels: what rare noise hardly reaches (measured: 0.05), what moves, if it is faint, 0.4
ENERGY = 0.06
MOST = 100.0  # times its limit; a value that is larger is no clearer
WAY, PLACE = 0.0004, 100  # of the pixels, and pixels: what stays in less is a hot pixel, or some

Box = tuple[int, int, int, int]  # x, y, width, height


def union(a: Box, b: Box) -> Box:
    """Return the smallest rectangle around two.

    >>> union((2, 1, 3, 1), (0, 4, 1, 1))
    (0, 1, 5, 4)
    """
    left, top = min(a[0], b[0]), min(a[1], b[1])
    right, bottom = max(a[0] + a[2], b[0] + b[2]), max(a[1] + a[3], b[1] + b[3])
    return left, top, right - left, bottom - top


def near(a: Box, b: Box, gap: int) -> bool:
    """Say whether two rectangles overlap, or lie at most ``gap`` pixels apart.

    >>> near((0, 0, 2, 2), (4, 0, 2, 2), 2), near((0, 0, 2, 2), (4, 0, 2, 2), 1)
    (True, False)
    """
    return all(
        a[axis] <= b[axis] + b[axis + 2] + gap and b[axis] <= a[axis] + a[axis + 2] + gap for axis in (0, 1)
    )


def grouped(boxes: list[Box], gap: int) -> list[Box]:
    """Join rectangles that lie at most ``gap`` pixels apart.

    >>> grouped([(0, 0, 2, 2), (9, 9, 1, 1), (3, 0, 2, 2)], 1)
    [(9, 9, 1, 1), (0, 0, 5, 2)]
    """
    found: list[Box] = []
    for box in boxes:
        while close := next((other for other in found if near(box, other, gap)), None):
            found.remove(close)
            box = union(box, close)
        found.append(box)
    return found


def keep_regions(mask: np.ndarray, least: float) -> list[Box]:
    """Clear what is smaller from a mask (Y, X), in place; return the boxes of the regions that stay, largest first.

    Pixels belong together that touch, also at a corner.  Runs of pixels are joined, which is faster than pixels.

    >>> mask = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 0, 0]], bool)
    >>> keep_regions(mask, 2), mask.tolist()
    ([(0, 0, 3, 2)], [[True, True, False, False, False], [False, False, True, False, False]])
    """
    height, width = mask.shape
    at = np.flatnonzero(mask)
    at += at // width + 1  # a column of rest between the rows, which are one long row now
    starts, stops = at[np.diff(at, prepend=-2) != 1], at[np.diff(at, append=-2) != 1] + 1
    # The runs of the next row that touch a run: from the first that ends behind its start to the last before its end.
    first = np.searchsorted(stops, starts + width, side="right")
    touching = np.maximum(np.searchsorted(starts, stops + width + 1, side="right") - first, 0)
    above = np.repeat(np.arange(len(starts)), touching)
    below = np.arange(len(above)) - np.repeat(np.cumsum(touching) - touching, touching) + first[above]
    label = np.arange(len(starts))
    while (apart := (one := label[above]) != (other := label[below])).any():
        np.minimum.at(label, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while (label != (root := label[label])).any():
            label = root
    label = (np.cumsum(label == np.arange(len(label))) - 1)[label]
    area = np.bincount(label, stops - starts)
    row, column = starts // (width + 1), starts % (width + 1) - 1
    edge = np.empty((4, len(area)), int)
    for index, values in enumerate((-column, -row, column + stops - starts, row + 1)):
        edge[index] = -width - height
        np.maximum.at(edge[index], label, values)
    small = area[label] < least
    if small.any():
        lengths = (stops - starts)[small]
        gone = np.repeat(starts[small] - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        mask[gone // (width + 1), gone % (width + 1) - 1] = False
    order = np.argsort(-area, kind="stable")
    return [
        (-left, -top, right + left, bottom + top)
        for left, top, right, bottom in edge[:, order[area[order] >= least]].T.tolist()
    ]


@frozen
class Look:
    """What moves in one result.

    Attributes
    ----------
    area
        Pixels beyond the threshold.
    boxes
        Around each region.
    energies
        Of each region: the sum of its values, squared, in units of the threshold.
    strength
        Their mean size, in the units of the values.
    share
        Of all that is looked at.
    shift
        How much lighter most of the picture is, in the units of the values.
    kind
        What it is that changes so much of the picture at once.
    scene
        Of the frame, in grey levels.
    """

    area: int
    boxes: tuple[Box, ...]
    strength: float
    energies: tuple[float, ...] = ()
    share: float = 0.0
    shift: float = 0.0
    kind: Kind = Kind.CUT
    scene: np.ndarray | None = None


NOTHING = Look(0, (), 0.0)


def look(values: np.ndarray, mask: np.ndarray, boxes: list[Box], pixels: int, limits: Limits) -> Look:
    """Measure what moves in a result (Y, X): ``mask``, inside boxes that do not overlap, of so many pixels in all.

    >>> values = np.zeros((4, 6)); values[1, 2:5] = -9
    >>> seen = look(values, values < -2, [(2, 1, 3, 1)], 24, Limits(np.full((1, 1), 3.0), 16))
    >>> seen.area, seen.boxes, seen.strength, seen.energies, seen.share
    (3, ((2, 1, 3, 1),), 9.0, (27.0,), 0.125)
    """
    found, energies = [], []
    for x, y, width, height in boxes:
        part = slice(y, y + height), slice(x, x + width)
        found.append(np.abs(values[part][mask[part]]))
        blocks = tuple(slice(each.start // limits.side, -(-each.stop // limits.side)) for each in part)
        times = np.minimum(found[-1] / limits.blocks[blocks].mean(), MOST)
        energies.append(float((times * times).sum()))
    every = np.concatenate(found)
    return Look(len(every), tuple(boxes), float(every.mean()), tuple(energies), len(every) / pixels)


@frozen
class Event:
    """A stretch of motion; frames are numbers of the input's, times are seconds.

    Attributes
    ----------
    area, strength
        At the peak, where the most moves the most: pixels, and their mean size in grey levels of 255.
    box
        Around all that moves during the event.
    objects
        A box for each thing that moves, around all of its way.
    """

    start: float
    end: float
    peak: float
    start_frame: int
    end_frame: int
    peak_frame: int
    area: int
    box: Box
    strength: float
    objects: tuple[Box, ...] = ()

    @property
    def facts(self) -> dict[str, object]:
        """The event for a program."""
        times = {name: round(getattr(self, name), 6) for name in ("start", "end", "peak")}
        frames = {name: getattr(self, name) for name in ("start_frame", "end_frame", "peak_frame", "area")}
        found = {
            "bbox": list(self.box),
            "strength": round(self.strength, 3),
            "objects": [*map(list, self.objects)],
        }
        return times | frames | found


@frozen
class Rules:
    """What counts as an event.

    Attributes
    ----------
    min_area
        Pixels of the smallest region that moves.
    min_duration
        Seconds from the first moving frame to the end of the last.
    merge_gap
        Stillness of at most so many seconds does not end an event.
    noisy
        Pixels that are looked at, where thresholds come from the noise: what goes nowhere, and what is faint, small and
        short, is then rare noise.  0 where thresholds are given, and all counts.
    """

    min_area: float = 1.0
    min_duration: float = 0.0
    merge_gap: float = 0.0
    noisy: int = 0


@frozen
class _Track:
    """One thing that moves: all of it as an event, its latest box, and the end of its last result."""

    event: Event
    latest: Box
    until: float
    energy: float

    def joined(self, later: "_Track") -> "_Track":
        a, b = self.event, later.event
        first, last = (a if a.start <= b.start else b), (a if a.end > b.end else b)
        peak = a if a.area * a.strength >= b.area * b.strength else b
        event = Event(
            first.start, last.end, peak.peak, first.start_frame, last.end_frame, peak.peak_frame,
            peak.area, union(a.box, b.box), peak.strength, (*a.objects, *b.objects),
        )  # fmt: skip
        return _Track(event, later.latest, max(self.until, later.until), self.energy + later.energy)


class Detector:
    """Turns looks, in order of time, into events.

    What moves in one result belongs to what moved near it just before, and together they must last for
    ``min_duration``: drops, hot pixels and noise flash here and there, things go on.

    Attributes
    ----------
    events : list of Event
        Once the clip is over.
    changes : list of Change
        What changed the whole picture and is no motion, once the clip is over.
    """

    def __init__(self, rules: Rules) -> None:
        self.events: list[Event] = []
        self.changes: list[Change] = []
        self.rules = rules
        self._tracks: list[_Track] = []
        self._lasting: list[_Track] = []
        self._whole: list[tuple[int, float, float, Look]] = []
        self._shifts: list[tuple[float, float, float]] = []
        self._scenes: list[tuple[float, np.ndarray]] = []

    def add(self, frame: int, time: float, duration: float, look: Look) -> None:
        """Take the look at one frame: its number, when and for how many seconds it is shown."""
        self._shifts.append((time, time + duration, look.shift))
        if look.scene is not None:
            self._scenes.append((time, look.scene))
            if len(self._scenes) > SCENES:
                del self._scenes[1::2]
        if look.share >= (MUCH if abs(look.shift) >= SWITCHED else GLOBAL):
            self._whole.append((frame, time, duration, look))
        else:
            self._settle()
            self._take(frame, time, duration, look)

    def _settle(self) -> None:
        """Decide whether the changes of the whole picture, up to now, are motion."""
        whole, self._whole = self._whole, []
        if len(whole) > CUT and any(abs(look.shift) < LIT for *_, look in whole):
            for each in whole:
                self._take(*each)
        elif whole:
            kind = next((look.kind for *_, look in whole if look.kind is not Kind.LAMP), Kind.LAMP)
            self.changes.append(Change(kind, whole[0][1], whole[-1][1] + whole[-1][2]))

    def _take(self, frame: int, time: float, duration: float, look: Look) -> None:
        ended = [track for track in self._tracks if time - track.until > self.rules.merge_gap + 1e-9]
        self._end(ended)
        tracks, new = [track for track in self._tracks if track not in ended], []
        # A burst of noise is short: what is faint lasts for as long as an event, or comes and goes.
        most = ENERGY * self.rules.noisy * max(duration / max(self.rules.min_duration, 1e-9), 0.5)
        for box, energy in zip(look.boxes, look.energies, strict=True):
            event = Event(time, time, time, frame, frame, frame, look.area, box, look.strength)
            one = _Track(event, box, time + duration, min(energy, most))
            for track in [track for track in tracks if near(box, track.latest, min(box[2:]))]:
                tracks.remove(track)
                one = track.joined(one)
            new.append(one)
        self._tracks = tracks + new

    def _end(self, tracks: "list[_Track]") -> None:
        shortest = self.rules.min_duration - 1e-9
        way = self.rules.noisy and max(WAY * self.rules.noisy, PLACE)
        self._lasting += [
            replace(track, event=replace(track.event, objects=(track.event.box,)))
            for track in tracks
            if track.until - track.event.start >= shortest
            and (track.event.start == track.event.end or track.event.box[2] * track.event.box[3] >= way)
        ]

    def close(self) -> None:
        """The clip is over: what lasted, together where it happens at once, is its events."""
        self._settle()
        self._end(self._tracks)
        light = changes_of_light(self._shifts)
        sudden = [one for one in self.changes if one.kind is not Kind.LAMP or not any(map(one.meets, light))]
        light = [one for one in light if not any(map(one.meets, sudden))]
        self.changes = sudden + light
        # A dissolve may be faint, and come in pieces.
        gaps = NEAR, self.rules.merge_gap
        dissolves = [part for gap in gaps for part in self._parts(self._lasting, gap) if is_dissolve(part[1])]
        for event, scenes in dissolves:
            change = Change(Kind.DISSOLVE, event.start, event.end)
            met = {one.kind: one for one in self.changes if one.meets(change)}
            if Kind.DISSOLVE not in met and not (
                Kind.FADE in met and kind_of(scenes[0], scenes[-1]) is Kind.LAMP
            ):
                self.changes = [change, *(one for one in self.changes if one is not met.get(Kind.FADE))]
        least = ENERGY * self.rules.noisy * (1 - 1e-6)  # durations are rounded
        lasting = [track for track in self._lasting if track.energy >= least]
        self.events = [
            replace(event, objects=tuple(grouped(list(event.objects), 0)))
            for event, scenes in self._parts(lasting, self.rules.merge_gap)
            if not any(
                max(event.start - other.end, other.start - event.end) <= NEAR and go_one_way(scenes, way)
                for other, way in dissolves
            )
        ]
        self.changes.sort(key=lambda change: change.start)

    def _parts(self, tracks: Sequence[_Track], gap: float) -> list[tuple[Event, list[np.ndarray]]]:
        """Join what happens at once; return it with the scenes of that time."""
        found: list[_Track] = []
        for track in sorted(tracks, key=lambda track: track.event.start):
            if found and track.event.start - found[-1].until <= gap + 1e-9:
                track = found.pop().joined(track)
            found.append(track)
        return [
            (event, [scene for time, scene in self._scenes if event.start <= time <= event.end])
            for event in (track.event for track in found)
        ]
