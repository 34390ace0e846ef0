"""Ways to spoil a file or a text, each from a seeded generator: the same number spoils the same way.

No reader is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

ODD = (0, 1, 127, 128, 254, 255)  # bytes at which counts and signs turn over
HEADER = 300  # most of what a reader believes stands in the first bytes


def _place(data: bytearray, rng: Random) -> int:
    return rng.randrange(min(len(data), HEADER) if rng.random() < 0.5 else len(data))


def flip_bits(data: bytearray, rng: Random, other: bytes) -> None:
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def set_bytes(data: bytearray, rng: Random, other: bytes) -> None:
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        data[_place(data, rng)] = rng.choice((*ODD, rng.randrange(256)))


def set_words(data: bytearray, rng: Random, other: bytes) -> None:
    """Put a large or negative number where a size, an offset or a count may stand."""
    at, width = _place(data, rng), rng.choice((2, 4, 8))
    value = rng.choice((0, 1, (1 << 8 * width - 1) - 1, 1 << 8 * width - 1, (1 << 8 * width) - 1, 1 << 16))
    data[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, rng.choice(("little", "big")))


def truncate(data: bytearray, rng: Random, other: bytes) -> None:
    del data[rng.randrange(len(data)) :]


def cut(data: bytearray, rng: Random, other: bytes) -> None:
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 4, 50))]


def insert(data: bytearray, rng: Random, other: bytes) -> None:
    at = _place(data, rng)
    data[at:at] = rng.randbytes(rng.randrange(1, 40))


def repeat(data: bytearray, rng: Random, other: bytes) -> None:
    at = _place(data, rng)
    data[at:at] = data[at : at + rng.randrange(1, 200)] * rng.choice((1, 2, 9))


def splice(data: bytearray, rng: Random, other: bytes) -> None:
    """The beginning of one file and the end of another."""
    data[_place(data, rng) :] = other[rng.randrange(len(other)) :]


WAYS: tuple[Callable[[bytearray, Random, bytes], None], ...] = (
    flip_bits, flip_bits, flip_bits, set_bytes, set_bytes, set_words, set_words,
    truncate, cut, insert, repeat, splice,
)  # fmt: skip


def spoil(seeds: Sequence[bytes], rng: Random) -> bytes:
    """Return one of the files, spoiled in one way or in two."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2))):
        if data:
            rng.choice(WAYS)(data, rng, rng.choice(seeds))
    return bytes(data)


def reword(seeds: Sequence[str], tokens: Sequence[str], rng: Random) -> str:
    """Return one of the texts with pieces replaced by tokens, taken out, doubled, or joined to another's."""
    text = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.choice((0, 1, 1, 2, 5)))
        piece = rng.choice((rng.choice(tokens), "", text[start:stop] * 2, rng.choice(seeds)[:9]))
        text = text[:start] + piece + text[stop:]
    return text
