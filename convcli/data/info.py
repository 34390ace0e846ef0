"""The form of data: axes, sizes, type, colour, and companions such as metadata.

Shared by the core and the media, so that neither imports the other.  No files, no arithmetic on samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from convcli.common import ConvError, UsageError, frozen
from convcli.data.axes import Axis, Positions, axes_of
from convcli.data.box import Box, slices, whole

if TYPE_CHECKING:
    import numpy as np

SPACE = "TZYX"  # the axes that kernels slide along, slowest first; "C" counts channels, "M" maps
ITEMS = "N"  # independent items, never filtered


class Colour(StrEnum):
    """The meaning of the channels."""

    NONE = "none"  # plain numbers: arrays, tables
    GREY = "grey"
    GREY_ALPHA = "grey-alpha"
    RGB = "rgb"
    RGBA = "rgba"
    CMYK = "cmyk"

    @property
    def has_alpha(self) -> bool:
        return self in (Colour.GREY_ALPHA, Colour.RGBA)


class Kind(StrEnum):
    """What a file is for."""

    PICTURE = "picture"
    CLIP = "clip"
    SOUND = "sound"
    TABLE = "table"


class Companions(Protocol):
    """Companions of the samples along the stream axis: other columns of a table, a clip's sound.

    ``notes`` are lines for the person; ``kind`` says of which files they are.
    ``by_sample`` says whether there is something for each sample.
    """

    @property
    def kind(self) -> Kind: ...

    @property
    def by_sample(self) -> bool: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def also(self) -> tuple[str, ...]:
        """What formats of another kind hold none of, for messages."""
        ...

    def take(self, positions: Sequence[int | None]) -> Companions:
        """Return the companions of new samples; ``None`` is a sample outside the data."""
        ...

    def drop(self) -> Companions:
        """Return what is left when samples no longer correspond (a transposed convolution)."""
        ...


@frozen
class Volume:
    """What a file of voxels says of their places.

    Attributes
    ----------
    affine : tuple of float or None
        The 16 numbers, row by row, of the matrix from a voxel's indices along x, y and z to millimetres to the right,
        to the front and up (RAS); None where the file tells none.
    spacing : tuple of Fraction
        Between voxels along x, y and z, in millimetres, as the positions of the axes count.
    """

    affine: tuple[float, ...] | None
    spacing: tuple[Fraction, ...]


@frozen
class Metadata:
    """What a picture carries beside its pixels."""

    icc: bytes | None = None
    exif: bytes | None = None  # orientation already applied and taken out
    # Colours are sRGB's, to be shown with this intent; formats without such a mark mean it
    srgb: int | None = None
    geo: tuple[tuple[int, int, int, Any], ...] | None = None  # tags that name where a map's pixels lie
    nodata: str | None = None  # the number that stands for missing samples in such files
    # Channels without a colour are measurements, and none is alpha; TIFF calls the first of them this
    bands: str | None = None
    header: tuple[str, str] | None = None  # of a format, by its name: what its writer takes back
    store: Any = None  # what stands beside the samples of a store, as its own format calls it
    volume: Volume | None = None
    # Of a TIFF: its byte order, whether it is a BigTIFF, and how its pixels are packed, if they are
    stored: tuple[Literal["<", ">"], bool, str] | None = None


@frozen
class Info:
    """The form of an array: its axes, e.g. ``YXC`` of ``(480, 640, 3)`` and where each lies, type and colour.

    A single channel has no ``C``.  ``dtype`` is a numpy type name.
    """

    axes: tuple[Axis, ...]
    dtype: str
    colour: Colour = Colour.NONE
    metadata: Metadata = field(default_factory=Metadata)
    companions: Companions | None = None
    notes: tuple[str, ...] = ()  # lines for the person: what the reader noticed
    white: float | None = None  # where it is not the type's largest: 4095 of 12 bits in uint16
    volume: bool = False  # the file, or a person, says that Z is an axis of space, not of pages
    gaps: bool = False  # a mask says which samples are missing: what is read are floats, whatever the type

    @classmethod
    def of(
        cls,
        letters: str,
        shape: Iterable[int],
        dtype: str,
        colour: Colour = Colour.NONE,
        metadata: Metadata | None = None,
        companions: Companions | None = None,
        notes: tuple[str, ...] = (),
    ) -> Info:
        """Return the form of an array without known positions.

        >>> Info.of("YXC", (480, 640, 3), "uint8").size("X")
        640
        """
        return cls(axes_of(letters, shape), dtype, colour, metadata or Metadata(), companions, notes)

    @cached_property
    def letters(self) -> str:
        """One letter a dimension, e.g. ``YXC``."""
        return "".join(axis.letter for axis in self.axes)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    def placed(self, **positions: Positions | None) -> Info:
        """Return the same with other positions of some axes, e.g. ``placed(T=...)``."""
        axes = (Axis(a.letter, a.size, positions.get(a.letter, a.positions)) for a in self.axes)
        return replace(self, axes=tuple(axes))

    def axis(self, letter: str) -> Axis:
        """Return the axis of a letter that is there."""
        return self.axes[self.letters.index(letter)]

    @property
    def stream_axis(self) -> int:
        """The dimension along which blocks are read and written: the first that is not channels."""
        return next(i for i, letter in enumerate(self.letters) if letter not in "MC")

    @cached_property
    def box_letters(self) -> str:
        """The letters of the axes that a box has spans for, in the array's order: all but channels and maps."""
        return "".join(letter for letter in self.letters if letter not in "MC")

    @cached_property
    def box(self) -> Box:
        """The box of everything."""
        return whole([self.size(letter) for letter in self.box_letters])

    def spans(self, box: Box) -> Box:
        """Return a span for each axis: those of a box, and all of the channels and maps.

        >>> Info.of("CYX", (3, 480, 640), "uint8").spans(((8, 9), (0, 640)))
        ((0, 3), (8, 9), (0, 640))
        """
        given = dict(zip(self.box_letters, box, strict=True))
        return tuple(given.get(axis.letter, (0, axis.size)) for axis in self.axes)

    def strip(self, start: int, stop: int) -> Box:
        """Return the box of the samples ``start:stop`` of the stream axis.

        >>> Info.of("YXC", (480, 640, 3), "uint8").strip(8, 9)
        ((8, 9), (0, 640))
        """
        return ((start, stop), *self.box[1:])

    @property
    def length(self) -> int:
        return self.shape[self.stream_axis]

    @property
    def bytes(self) -> int:
        """Of all samples."""
        return prod(self.shape) * int("".join(filter(str.isdigit, self.dtype)) or 8) // 8

    @property
    def channels(self) -> int:
        return self.axis("C").size if "C" in self.letters else 1

    @property
    def also(self) -> tuple[str, ...]:
        """What there is beside samples, positions and metadata, for messages."""
        return self.companions.also if self.companions else ()

    def size(self, letter: str) -> int:
        return self.axis(letter).size


def refuse_items(info: Info) -> None:
    """Refuse several items where one is taken."""
    if ITEMS in info.letters:
        raise UsageError("several items along the axis N: this command takes a file with a single item")


@frozen
class Plane:
    """One component of a clip's frames as they are coded.

    Attributes
    ----------
    shape
        (Y, X), in samples of its own.
    step
        Pixels from one sample to the next along Y and X: 2 where colour is halved.
    black, white
        Their values; of a colour difference, both are the value of no colour.
    """

    shape: tuple[int, int]
    step: tuple[int, int]
    black: float
    white: float


@frozen
class Coded:
    """The frames of a source as they are coded: the components, or why they are not offered one by one."""

    planes: tuple[Plane, ...] = ()
    bits: int = 8
    refusal: str = ""

    @property
    def dtype(self) -> str:
        return "uint8" if self.bits <= 8 else "uint16"


@frozen
class Grain:
    """Which boxes of a file can be read or written, and in which order.

    Attributes
    ----------
    any_order : bool
        Whether any box is, in any order; otherwise strips are, one after the other.
    piece : tuple of int
        How many samples along the last axes are one piece, such as a tile or a chunk, that is read or written as a
        whole; none are single samples.
    kept : bool
        Whether all samples are kept in memory, and parts are views of them.
    beside : int
        Bytes that its library takes beside the boxes; the one that reads holds a box more.
    """

    any_order: bool = False
    piece: tuple[int, ...] = ()
    kept: bool = False
    beside: int = 0

    def facts(self, info: Info) -> dict[str, Any]:
        """Return what JSON says of it, for a file of this form."""
        return {"any_order": self.any_order, "steps": self.steps(info)}

    def steps(self, info: Info) -> dict[str, int]:
        """Return for each letter of ``info.box_letters`` of how many samples boxes are multiples.

        >>> Grain(any_order=True, piece=(64, 64)).steps(Info.of("ZYX", (9, 480, 640), "uint8"))
        {'Z': 1, 'Y': 64, 'X': 64}
        >>> Grain().steps(Info.of("ZYX", (9, 480, 640), "uint8"))
        {'Z': 1, 'Y': 480, 'X': 640}
        """
        sizes = [info.size(letter) for letter in info.box_letters]
        piece = self.piece if self.any_order else sizes[1:]
        return dict(zip(info.box_letters, (*(1,) * (len(sizes) - len(piece)), *piece), strict=True))


STRIPS, BOXES, KEPT = Grain(), Grain(any_order=True), Grain(kept=True)


class Source(Protocol):
    """An open input.

    ``later`` has lines for the person that come up while it is read, beside the notes in ``info``.
    """

    info: Info
    grain: Grain
    later: dict[str, None]

    def read(self, box: Box) -> np.ndarray:
        """Return a box: a span for each letter in ``info.box_letters``, all of the channels."""
        ...

    def strip(self, start: int, stop: int) -> np.ndarray:
        """Return the samples ``start:stop`` of the stream axis, all of the other axes."""
        ...

    def close(self) -> None: ...


class Strips(ABC):
    """A source that reads strips only: a box is cut out of the strip that contains it."""

    info: Info
    grain = STRIPS
    later: dict[str, None] = {}

    @abstractmethod
    def strip(self, start: int, stop: int) -> np.ndarray:
        """Return the samples ``start:stop`` of the stream axis, all of the other axes."""

    def read(self, box: Box) -> np.ndarray:
        """Return a box: a span for each letter in ``info.box_letters``, all of the channels."""
        (start, stop), *others = box
        return self.strip(start, stop)[slices(self.info.spans(((0, stop - start), *others)))]


class Boxes(ABC):
    """A source that reads any box, in any order."""

    info: Info
    grain = BOXES
    later: dict[str, None] = {}

    @abstractmethod
    def read(self, box: Box) -> np.ndarray:
        """Return a box: a span for each letter in ``info.box_letters``, all of the channels."""

    def strip(self, start: int, stop: int) -> np.ndarray:
        """Return the samples ``start:stop`` of the stream axis, all of the other axes."""
        return self.read(self.info.strip(start, stop))

    def close(self) -> None:  # noqa: B027
        """Nothing stays open, unless a source says otherwise."""


def channels_first(source: Source, letters: str, box: Box) -> np.ndarray:
    """Return a box, a span for each of ``letters``, as (channels, *space), the axes of space in that order too."""
    info, place = source.info, dict(zip(letters, box, strict=True))
    block = source.read(tuple(place[letter] for letter in info.box_letters))
    block = block.transpose(
        [info.letters.index(letter) for letter in f"C{letters}" if letter in info.letters]
    )
    return block if "C" in info.letters else block[None]


@runtime_checkable
class PlanarSource(Source, Protocol):
    """An open clip that can also be read component by component."""

    coded: Coded

    def read_planes(self, start: int, stop: int) -> tuple[np.ndarray, ...]:
        """Return the frames ``start:stop``, an array (T, Y, X) for each of ``coded.planes``."""
        ...


class Sink(ABC):
    """An open output, which takes boxes as its grain allows, each once, until it has all of them.

    Attributes
    ----------
    info : Info
        The form of what it takes.
    notes : tuple of str
        Lines for the person, complete after :meth:`close`: what the format could not hold.
    in_place : bool
        Whether it can be pickled, and several of it can fill one output: nothing is left to write at the end.
    """

    grain = STRIPS
    in_place = False
    notes: tuple[str, ...] = ()

    def __init__(self, info: Info) -> None:
        self.info = info
        self._next = 0  # sample of the stream axis
        self._missing = prod(info.shape)

    def write(self, box: Box, values: np.ndarray) -> None:
        """Take the values of a box: a span for each letter in ``info.box_letters``, all channels and maps.

        Raises
        ------
        ValueError
            For values of another shape, and for a box that the grain does not allow: the caller's mistake.
        """
        if values.shape != tuple(stop - start for start, stop in self.info.spans(box)):
            raise ValueError(f"values of shape {values.shape} do not fill the box {box}")
        if not self.grain.any_order and box != self.info.strip(self._next, self._next + len(range(*box[0]))):
            raise ValueError(f"the box {box} is not the next strip, which begins at {self._next}")
        self.put(box, values)
        self._next = box[0][1]
        self._missing -= values.size

    @abstractmethod
    def put(self, box: Box, values: np.ndarray) -> None:
        """Write a box that fits."""

    def attach(self, fp: IO[bytes]) -> None:
        """Go on in a file that another such sink has begun, where it is ``in_place``."""
        raise NotImplementedError

    def flush(self) -> None:  # noqa: B027
        """Let nothing that was written wait in this process."""

    def finish(self) -> None:  # noqa: B027
        """Write what follows from the samples, once all of them are there, whoever has written them."""

    def close(self) -> None:
        """Finish the file's content (the target is renamed into place by its owner).

        Raises
        ------
        ConvError
            Unless all samples have come.
        """
        if self._missing:
            raise ConvError(
                f"the output is incomplete: {self._missing} of {prod(self.info.shape)} samples are missing"
            )


class PlanarSink(Protocol):
    """An open clip that takes frames as its source has them: one array (T, Y, X) for each component."""

    def write_planes(self, planes: Sequence[np.ndarray]) -> None: ...


class ArraySource(Boxes):
    """An array as an input, with its form or the letters of its axes."""

    grain = Grain(any_order=True, kept=True)

    def __init__(self, array: np.ndarray, form: Info | str) -> None:
        self._array = array
        self.info = form if isinstance(form, Info) else Info.of(form, array.shape, array.dtype.name)

    def read(self, box: Box) -> np.ndarray:
        return self._array[slices(self.info.spans(box))]
