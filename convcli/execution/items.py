"""Independent items, the axis N: what one of them is, and where they stand in a result.

A job of many items is the same job for each, with nothing between them: `convcli.execution.pipeline` runs them in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from convcli.data.arrays import ArraySource
from convcli.data.info import ITEMS, Info, Source


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


def items(source: Source) -> Iterator[ArraySource]:
    """Yield the items one after the other; each is read whole, all at once where they are not the slowest axis."""
    info = source.info
    axis, count = info.letters.index(ITEMS), info.size(ITEMS)
    apart = axis == info.stream_axis
    everything = None if apart else source.strip(0, info.length)
    for index in range(count):
        block = source.strip(index, index + 1) if everything is None else everything.take([index], axis)
        item = ArraySource(block.squeeze(axis), info.letters.replace(ITEMS, ""))
        item.info = item_of(info)
        yield item
