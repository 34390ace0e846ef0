"""Independent items, the axis N: what one of them is, and where they stand in a result.

A job of many items is the same job for each, with nothing between them: `convcli.execution.pipeline` runs them in turn.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from convcli.common import UsageError
from convcli.data import ITEMS, Box, Boxes, Info, Source


def item_of(info: Info) -> Info:
    """Return the form of one item.

    >>> item_of(Info.of("NCYX", (9, 3, 5, 7), "uint8")).letters
    'CYX'
    """
    return replace(info, axes=tuple(axis for axis in info.axes if axis.letter != ITEMS))


def place_of(result: Info, given: Info) -> int:
    """Return which dimension of all results the items are: behind what stood before them in the input."""
    before = given.letters.partition(ITEMS)[0]
    if "C" not in result.letters:
        before = before.replace("C", "M")  # maps that stand where the channels stood
    return max((result.letters.index(letter) + 1 for letter in before if letter in result.letters), default=0)


def with_items(result: Info, given: Info) -> Info:
    """Return the form of the results of all items of an input; without items it is that of one.

    >>> bank = Info.of("MYX", (6, 4, 6), "float32")
    >>> with_items(bank, Info.of("NCYX", (9, 3, 5, 7), "uint8")).letters
    'NMYX'
    """
    if ITEMS not in given.letters:
        return result
    place = place_of(result, given)
    return replace(result, axes=(*result.axes[:place], given.axis(ITEMS), *result.axes[place:]))


class Item(Boxes):
    """One item of a source, which stays its owner's."""

    def __init__(self, source: Source, index: int) -> None:
        self.info, self.grain = item_of(source.info), source.grain
        self._source, self._index = source, index

    def read(self, box: Box) -> np.ndarray:
        info = self._source.info
        at = info.box_letters.index(ITEMS)
        block = self._source.read((*box[:at], (self._index, self._index + 1), *box[at:]))
        return block.squeeze(info.letters.index(ITEMS))

    @property
    def unmasked(self) -> np.ndarray | None:
        """The box that was read last, without its mask, where there is one."""
        block: np.ndarray | None = getattr(self._source, "unmasked", None)
        return None if block is None else block.squeeze(self._source.info.letters.index(ITEMS))


def item(source: Source, index: int) -> Item:
    """Return one item; nothing is read yet.

    Raises
    ------
    UsageError
        When there is no such item.
    """
    count = source.info.size(ITEMS)
    if not 0 <= index < count:
        raise UsageError(f"item {index} is not there: along N are 0 to {count - 1}")
    return Item(source, index)


def items(source: Source) -> Iterator[Item]:
    """Yield the items one after the other; nothing is read yet."""
    yield from (Item(source, index) for index in range(source.info.size(ITEMS)))
