"""What all sounds have in common: how samples are stored, tags, rates, decoding from the beginning to the end."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from convcli.common import ConvError, UsageError, frozen
from convcli.common.budget import SOUND
from convcli.data import NO_UNIT, SECOND, Axis, Info, Kind, Listed, Strips, at_rate, measure, samples, spacing

TRUNCATED = "--allow-truncated keeps what can be read"
_LOSSY = ("VORBIS", "OPUS", "AAC", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")
_FLOATS = dict.fromkeys(_LOSSY, "float32") | {"FLOAT": "float32", "DOUBLE": "float64"}
_BITS = re.compile(r"(?:PCM_[SU]?|ALAC_|DWVW_)(\d+)")  # of whole numbers; all others have 16
_EXACT = 1e-9  # of a rate, by which times in doubles may miss it
_LOUDEST = 1e6  # of floats that encoders take
# Places of channels, from the lowest bit of a WAV's channel mask, which FFmpeg shares
PLACES = ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR",
          "TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR")  # fmt: skip
_STEP = 1 << 12  # samples that are decoded at a time where some are passed over: an error loses no more


@frozen
class Coding:
    """How samples are stored: libsndfile's name, such as ``PCM_24``."""

    name: str

    @property
    def plain(self) -> bool:
        """Whether the numbers stand as they are, neither coded by differences nor by logarithms."""
        return self.name in ("FLOAT", "DOUBLE") or self.name.startswith(("PCM_", "ALAC_"))

    @property
    def bits(self) -> int:
        """Of whole numbers."""
        told = _BITS.fullmatch(self.name)
        return int(told[1]) if told else 16

    @property
    def dtype(self) -> str:
        """The type that holds the samples."""
        whole = "int8" if self.bits == 8 else "int16" if self.bits <= 16 else "int32"
        return _FLOATS.get(self.name, whole)

    @property
    def handed(self) -> str:
        """The type in which libsndfile takes and gives them: whole numbers fill it from the top."""
        return "int16" if self.dtype == "int8" else self.dtype

    @property
    def unused(self) -> int:
        """The bits below whole numbers in `handed`."""
        return 0 if self.floats else 8 * np.dtype(self.handed).itemsize - self.bits

    @property
    def white(self) -> float | None:
        """The largest sample, where it is not that of the type."""
        return None if self.floats or self.bits in (8, 16, 32) else 2.0 ** (self.bits - 1) - 1

    @property
    def floats(self) -> bool:
        return self.name in _FLOATS

    @property
    def lossy(self) -> bool:
        return self.name in _LOSSY

    @property
    def full(self) -> float:
        """Full scale: just above the largest sample."""
        return 1.0 if self.floats else 2.0 ** (self.bits - 1)

    def holds(self, dtype: str, full: float) -> bool:
        """Whether samples of a type and a full scale are stored as they are."""
        alike = np.dtype(dtype).kind == np.dtype(self.dtype).kind
        return alike and np.dtype(dtype).itemsize <= np.dtype(self.dtype).itemsize and full <= self.full

    @property
    def exact(self) -> bool:
        """Whether any part can be decoded alone and gives the same numbers."""
        return self.name.startswith("PCM_") or (self.floats and not self.lossy)

    def samples(self, handed: np.ndarray) -> np.ndarray:
        """Return what libsndfile gives as samples."""
        return (handed >> self.unused if self.unused else handed).astype(self.dtype, copy=False)


@frozen
class Sound:
    """The companions of samples: how they were stored, and what the file says about itself.

    Attributes
    ----------
    tags
        Such as ``title``.
    bits
        A second, of all channels, where they were compressed with a loss; 0 where nobody says it.
    mask
        The places of the channels, a bit for each of `PLACES`; 0 where nobody says them.
    order
        Of bytes, in libsndfile's words: the container, and ``FILE`` for its usual one.
    """

    kind, by_sample = Kind.SOUND, False
    coding: Coding
    tags: Mapping[str, str]
    bits: int = 0
    mask: int = 0
    order: tuple[str, str] = ("", "FILE")
    notes = ()

    @property
    def also(self) -> tuple[str, ...]:
        return (f"tags ({', '.join(self.tags)})",) if self.tags else ()

    def take(self, positions: Sequence[int | None]) -> Sound:
        return self

    def drop(self) -> Sound:
        return self


class Sequential(Strips):
    """A sound that is decoded as it is read; what the latest strip was made of is not decoded again."""

    _size: int  # of the file
    _coding: Coding

    def _begin(
        self,
        rate: int,
        channels: int,
        count: int,
        tags: Mapping[str, str],
        notes: list[str],
        bits: int,
        mask: int,
        order: tuple[str, str] = ("", "FILE"),
    ) -> None:
        """Work out the form, now that the file is open and the samples are counted."""
        if count < 1:
            raise ConvError("it holds no samples")
        coding, self._next = self._coding, 0
        self._kept = np.empty((0, channels), coding.dtype)
        shape = (count, channels)[: 1 + (channels > 1)]
        beside = Sound(coding, tags, bits * coding.lossy, mask * (mask.bit_count() == channels), order)
        info = Info.of("XC"[: len(shape)], shape, coding.dtype, companions=beside)
        self.info = replace(info, white=coding.white, notes=tuple(notes)).placed(X=at_rate(Fraction(rate)))

    def _counted(self, tolerant: bool) -> int:
        """Decode everything, and return how many samples there are; an error ends them where that is allowed."""
        count = 0
        try:
            while read := len(self._next_part(_STEP)):
                count += read
        except ConvError:
            if not (tolerant and count):
                raise
        self._go_to(0)
        return count

    @abstractmethod
    def _go_to(self, start: int) -> int:
        """Go to a sample or, where decoding has to come from the beginning, there; return the next one."""

    @abstractmethod
    def _more(self, count: int) -> np.ndarray:
        """Return the next samples (X, C), fewer where the file ends."""

    def strip(self, start: int, stop: int) -> np.ndarray:
        """Return the samples ``start:stop``.

        Raises
        ------
        ConvError
            When the file is damaged or ends before.
        """
        SOUND.allow((stop - start) * self._kept.shape[1], f"{stop - start} samples", self._size)
        first = self._next - len(self._kept)
        kept = self._kept[max(start - first, 0) :]
        if not first <= start <= self._next:
            kept = self._kept[:0]
            if self._coding.exact or start < self._next:
                self._next = self._go_to(start)
            while self._next < start:
                self._decoded(min(_STEP, start - self._next))
        rest = stop - start - len(kept)
        if rest > 0:
            self._kept = kept = np.concatenate((kept, self._decoded(rest)))
        block = kept[: stop - start]
        return block[:, 0] if self.info.letters == "X" else block

    def _next_part(self, count: int) -> np.ndarray:
        try:
            return self._more(count)
        except ConvError as error:
            raise ConvError(f"{error.problem.rstrip('.')}; {TRUNCATED}") from error

    def _decoded(self, count: int) -> np.ndarray:
        read = self._next_part(count)
        self._next += len(read)
        if len(read) < count:
            raise ConvError(
                f"broken or truncated sound: it ends at sample {self._next} of {self.info.length}; {TRUNCATED}"
            )
        return read


class Samples:
    """Converts samples to what an output stores.

    Parameters
    ----------
    info
        Of the samples.
    name
        The output's format, for messages.
    beside
        Where they come from.
    codings
        What the format has, from coarse to fine.

    Attributes
    ----------
    coding : Coding
        As they were stored, else one that loses nothing, else the finest.

    Raises
    ------
    UsageError
        For what are not samples.
    """

    def __init__(self, info: Info, name: str, beside: Sound | None, codings: Sequence[Coding]) -> None:
        kind = np.dtype(info.dtype).kind
        if info.letters not in ("X", "XC") or kind not in "if" or info.dtype == "int64":
            raise UsageError(
                f"{name} holds signed integers of up to 32 bits or floats, not {info.dtype} of the axes "
                f"{info.letters}: --range float writes floats, and .npy holds anything"
            )
        self._floats, self._name, self._size = kind == "f", name, info.shape[0] * info.channels
        self._full = 1.0 if self._floats else (info.white or float(np.iinfo(info.dtype).max)) + 1
        fine = [one for one in codings if not one.lossy and one.holds(info.dtype, self._full)]
        same = [beside.coding] if beside and beside.coding.dtype == info.dtype else []
        self.coding = next((one for one in (*same, *fine) if one in codings), codings[-1])
        own = beside.coding if beside and not self.coding.lossy else self.coding
        self._recoded = "" if own.plain or own.lossy else own.name
        self._beyond = self._missing = 0
        self._rounds = not (self.coding.floats or self.coding.holds(info.dtype, self._full))

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return samples as the library that writes them takes them."""
        coding = self.coding
        if self._floats:
            self._beyond += int((np.abs(values) > 1).sum())
            if coding.lossy or not coding.floats:
                missing = np.isnan(values)
                self._missing += int(missing.sum())
                values = np.where(missing, 0, np.clip(values, -_LOUDEST, _LOUDEST))
        if coding.floats:
            return np.asarray(values if self._full == 1 else values / self._full, coding.handed)
        if self._rounds or self._full != coding.full:
            scaled = values.astype(np.float64) * (coding.full / self._full)
            values = np.clip(np.rint(scaled), -coding.full, coding.full - 1)
        return np.left_shift(values.astype(coding.handed), coding.unused)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was lost."""
        finer = "floats" if self._floats else f"{int(self._full).bit_length()} bits a sample"
        rounded = f"{finer} are rounded to {self.coding.bits} bits: {self._name} holds no more"
        players = "are cut: write .wav to keep them" if not self.coding.floats else "players cut them"
        beyond = f"{self._beyond / self._size:.2%} of the samples are beyond full scale, 1, and {players}"
        wider = f"{finer} are written as {self.coding.bits}: {self._name} is written with no number between"
        widened = self._full < self.coding.full and not (self.coding.floats or self.coding.lossy)
        missing = f"{self._missing} samples are not numbers (NaN) and become silence"
        recoded = f"the coding {self._recoded} is not written: samples become {self.coding.name}"
        said = {
            recoded: self._recoded,
            rounded: self._rounds,
            wider: widened,
            beyond: self._beyond,
            missing: self._missing,
        }
        return tuple(line for line, there in said.items() if there)


def placed(name: str, info: Info, masks: Sequence[int]) -> tuple[int, tuple[str, ...]]:
    """Return which of a format's channel masks holds a sound, 0 where none does, and a note on places that are lost."""
    masks = [one for one in masks if one.bit_count() == info.channels]
    mask = info.companions.mask if isinstance(info.companions, Sound) else 0
    if mask in masks:
        return mask, ()
    if mask.bit_count() != info.channels:
        return next(iter(masks), 0), ()
    names = " ".join(place for bit, place in enumerate(PLACES) if mask >> bit & 1)
    held = "holds others" if masks else "holds none"
    return next(iter(masks), 0), (f"left out: the places of the channels ({names}) ({name} {held})",)


def unheld(name: str, info: Info, rate: int) -> UsageError:
    """Return the error for channels or a sample rate that a format does not support."""
    form = f"{info.channels} channels at {rate} Hz"
    return UsageError(f"{name} does not support {form}: write .wav or .flac")


def rate_of(axis: Axis, name: str) -> tuple[int, tuple[str, ...]]:
    """Return the sample rate in hertz, and notes on what it does not tell of the positions."""
    positions = axis.positions
    if positions is None or spacing(positions) is None:
        why = "has none: --fps sets one" if positions is None else "is not evenly spaced in time"
        raise UsageError(f"{name} needs a sample rate, and the data {why}")
    if measure(positions.unit) != "time":
        raise UsageError(
            f"{name} needs a sample rate, and the samples lie {positions.unit} apart, not seconds"
        )
    notes = (NO_UNIT,) * (not positions.unit)
    if (first := positions.at(0)) and isinstance(positions, Listed):
        notes += (f"the first sample lies at {float(first):.10g} {positions.unit}: {name} begins at 0",)
    rate = samples(Fraction(1), SECOND, axis)
    if not 1 <= round(rate) < 2**31:
        raise UsageError(f"{name} does not support a sample rate of {float(rate):g} Hz")
    said = f"the sample rate {float(rate):.10g} Hz is rounded to {round(rate)} Hz"
    return round(rate), notes + (said,) * (abs(rate - round(rate)) > _EXACT * rate)
