"""Numbered pictures as clips, one file a frame: ``frames/%04d.png``, or to read also ``frames/*.png``.

A literal file of such a name is read as one picture.  Frames are read as they are asked for, and written
into a folder of their own that moves into place at the end.
"""

import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np

from convcli.common import ConvError, frozen
from convcli.data import Axis, Box, Info, Sink, Source, Strips, at_rate
from convcli.media import registry
from convcli.media.files.target import StrPath, about_input, shown
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.registry import Format
from convcli.media.shared import Recent
from convcli.media.timing import Clip, clip_of

_NUMBER = re.compile(r"%(?:0([1-9][0-9]?))?d")
_WILD = re.compile(r"[*?]+|\[[^]]+\]")
_GAPS = 4  # that are named


@frozen
class Pattern:
    """The names ``before`` + number + ``after`` in a folder; the number has at least ``width`` digits."""

    folder: Path
    before: str
    after: str
    width: int

    def name(self, number: int) -> str:
        """Return the name with a number.

        >>> Pattern(Path(), "a", ".png", 3).name(7)
        'a007.png'
        """
        return f"{self.before}{number:0{self.width}}{self.after}"

    def number(self, name: str) -> int | None:
        """Return the number of a name, ``None`` where it does not fit.

        >>> [Pattern(Path(), "a", ".png", 2).number(name) for name in ("a07.png", "a7.png", "a123.png")]
        [7, None, 123]
        """
        digits = name[len(self.before) : len(name) - len(self.after)]
        fits = digits.isascii() and digits.isdecimal() and self.name(int(digits)) == name
        return int(digits) if fits else None


def pattern(path: StrPath) -> Pattern | None:
    """Return the pattern that a name is: one ``%d`` or ``%04d`` in it, and no such file.

    >>> pattern("out/%04d.png").width, pattern("50%.png")
    (4, None)
    """
    whole = Path(path)
    found = list(_NUMBER.finditer(whole.name))
    if len(found) != 1 or os.path.lexists(whole):
        return None
    (match,) = found
    before, after = whole.name[: match.start()], whole.name[match.end() :]
    return Pattern(whole.parent, before, after, int(match[1] or 1))


def overlap(one: str, other: str) -> bool:
    """Return whether two outputs may have a file in common; a pattern stands for all of its names.

    >>> overlap("out/f%d.png", "out/f7.png"), overlap("f%d.png", "g7.png"), overlap("f%02d.png", "f%d.png")
    (True, False, True)
    """
    names, others = pattern(one), pattern(other)
    if names and others:
        return replace(names, width=1) == replace(others, width=1)
    names, path = (names, Path(other)) if names else (others, Path(one))
    if names is None:
        return one == other
    return names.folder == path.parent and names.number(path.name) is not None


@frozen
class Numbered:
    """The files of a clip in order, the number of the first, and what is to be said about them."""

    files: tuple[Path, ...]
    first: int = 1
    notes: tuple[str, ...] = ()


def find(path: StrPath) -> Numbered | None:
    """Return the files that a pattern or a wildcard names; ``None`` for any other name, and where there are none."""
    whole = Path(path)
    wild = _WILD.search(whole.name) is not None and not os.path.lexists(whole)
    named = None if wild else pattern(path)
    if not (wild or named) or not whole.parent.is_dir():
        return None
    names = [entry.name for entry in os.scandir(whole.parent) if entry.is_file()]
    if named is None:
        hidden = whole.name.startswith(".")
        fitting = [n for n in names if fnmatchcase(n, whole.name) and n.startswith(".") == hidden]
        files = tuple(whole.parent / name for name in sorted(fitting, key=_natural))
        return Numbered(files) if files else None
    numbers = sorted(number for name in names if (number := named.number(name)) is not None)
    files = tuple(whole.parent / named.name(number) for number in numbers)
    return Numbered(files, numbers[0], _gaps(numbers)) if files else None


def _natural(name: str) -> list[tuple[int, str]]:
    """Order names as a person does: a2 before a10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _gaps(numbers: Sequence[int]) -> tuple[str, ...]:
    """Return a note about numbers that are left out.

    >>> _gaps([1, 2, 5, 7])
    ('3 of the numbers 1 to 7 are missing (3-4, 6): the frames beside a gap follow each other',)
    """
    breaks = [(a + 1, b - 1) for a, b in pairwise(numbers) if b > a + 1]
    if not breaks:
        return ()
    named = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in breaks[:_GAPS])
    more = ", ..." if len(breaks) > _GAPS else ""
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    return (
        f"{missing} of the numbers {numbers[0]} to {numbers[-1]} are missing ({named}{more}): "
        "the frames beside a gap follow each other",
    )


def clip_name(path: Path) -> str:
    """Return a name for the output of a whole clip: the pictures' name without the number, or their folder's.

    >>> clip_name(Path("shots/door-%04d.png")), clip_name(Path("shots/*.png"))
    ('door.png', 'shots.png')
    """
    stem = _WILD.sub("", _NUMBER.sub("", path.stem)).strip(" ._-")
    return f"{stem or path.absolute().parent.name or 'frames'}{path.suffix}"


def frames_name(path: Path) -> str:
    """Return a name pattern for output pictures: wildcards become one number.

    >>> frames_name(Path("shots/door-*.png")), frames_name(Path("shots/%03d.png"))
    ('door-%04d.png', '%03d.png')
    """
    first = _WILD.search(path.stem)
    if first is None:
        return path.name
    return f"{path.stem[: first.start()]}%04d{_WILD.sub('', path.stem[first.end() :])}{path.suffix}"


class NumberedSource(Strips):
    """Pictures of one size, depth and colour as a clip, axes ``TYX`` or ``TYXC``."""

    def __init__(self, found: Numbered, options: ReadOptions) -> None:
        self._files = found.files
        self._options = replace(options, all_frames=False)
        with about_input(found.files[0]), closing(self._open(found.files[0])) as first:
            self._form = first.info
        self.info = replace(
            self._form,
            axes=(
                Axis("T", len(found.files), at_rate(options.rate) if options.rate else None),
                *self._form.axes,
            ),
            companions=Clip(first=found.first),
            notes=(*found.notes, *self._form.notes),
        )
        self.later = {}
        self._frames = Recent()

    def _open(self, path: Path) -> Source:
        fp = path.open("rb")
        try:
            head = fp.read(registry.HEAD)
            fp.seek(0)
            format, _ = registry.identify(head, path)
            source = registry.open_source(fp, format, self._options)
        except BaseException:
            fp.close()
            raise
        if source.info.letters not in ("YX", "YXC"):
            source.close()
            axes = ", ".join(source.info.letters.lower())
            raise ConvError(f"no frame: it has the axes {axes}, a picture has y, x")
        return source

    def _read(self, path: Path) -> np.ndarray:
        try:
            with about_input(path), closing(self._open(path)) as source:
                here, first = _form(source.info), _form(self._form)
                if here != first:
                    raise ConvError(f"it is {here} and the first frame {first}: they must agree")
                self.later |= dict.fromkeys(
                    note for note in source.info.notes if note not in self._form.notes
                )
                if source.info.metadata != self._form.metadata:
                    self.later["the pictures differ in profile or EXIF data: those of the first are kept"] = (
                        None
                    )
                return source.strip(0, source.info.length)
        except OSError as error:
            raise ConvError(f"cannot be read: {error.strerror}", subject=shown(path)) from None

    def strip(self, start: int, stop: int) -> np.ndarray:
        """Return the frames ``start:stop``."""
        frames = self._frames(
            list(range(start, stop)), lambda indices: [self._read(self._files[index]) for index in indices]
        )
        return np.stack(frames)

    def close(self) -> None:
        pass  # no file is open between reads


def _form(info: Info) -> str:
    """Return what all frames must have in common.

    >>> _form(Info.of("YX", (3, 4), "uint8"))
    '4 x 3 uint8'
    """
    colour = f" {info.colour}" if info.channels > 1 else ""
    white = f" of white {info.white:g}" if info.white else ""
    return f"{info.size('X')} x {info.size('Y')} {info.dtype}{colour}{white}"


class NumberedSink(Sink):
    """Writes each frame into a file of its own, which ``opened`` opens by its name."""

    def __init__(
        self,
        opened: Callable[[str], AbstractContextManager[IO[bytes]]],
        names: Pattern,
        format: Format,
        info: Info,
        options: WriteOptions,
    ) -> None:
        super().__init__(info)
        self._opened, self._names, self._format, self._options = opened, names, format, options
        self._axis = info.letters.index("T")
        self._one = replace(
            info, axes=tuple(axis for axis in info.axes if axis.letter != "T"), companions=None
        )
        self._first = first_number(info)

    def put(self, box: Box, values: np.ndarray) -> None:
        """Write the next frames."""
        for number, pixels in enumerate(np.moveaxis(values, self._axis, 0), self._first + box[0][0]):
            name = self._names.name(number)
            with self._opened(name) as fp:
                sink: Sink = registry.open_sink(fp, self._format, self._one, self._options)
                sink.write(self._one.box, pixels)
                sink.close()
            self.notes = tuple(dict.fromkeys((*self.notes, *sink.notes)))

    def close(self) -> None:
        """Say what there is now."""
        super().close()
        total = self.info.size("T")
        last = self._names.folder / self._names.name(self._first + total - 1)
        if total > 1:
            self.notes += (f"{total} files, the last is {last}",)


def first_number(info: Info) -> int:
    """Return the number of the first frame: that of the first picture that was read, else 1."""
    return clip_of(info.companions).first
