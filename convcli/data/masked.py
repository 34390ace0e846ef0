"""A source with a mask beside it: where the mask is zero, samples are missing.  No files."""

from dataclasses import replace

import numpy as np

from convcli.common import UsageError
from convcli.data.box import Box
from convcli.data.info import ITEMS, SPACE, STRIPS, Boxes, Colour, Info, Source


def places_of(mask: Info, info: Info) -> str:
    """Return which axis of the data each axis of a mask lies along; a picture's channels count together, as ``+``.

    Axes are matched by their letters if the data has all of the mask's, else in order, from the last one on.

    Raises
    ------
    UsageError
        Unless sizes agree.

    >>> places_of(Info.of("ZYX", (9, 4, 6), "uint8"), Info.of("TYXC", (9, 4, 6, 3), "uint8"))
    'TYX'
    """
    if mask.shape == info.shape and mask.colour is Colour.NONE:
        return info.letters
    own, given = ([a for a in ITEMS + SPACE if a in one.letters] for one in (mask, info))
    along = dict(zip(own, own if set(own) <= set(given) else given[-len(own) :], strict=False))
    found = "".join(
        "+" if a == "C" and mask.colour is not Colour.NONE else along.get(a, a) for a in mask.letters
    )
    axes = zip(found, mask.shape, strict=True)
    if any(a != "+" and (a not in info.letters or info.size(a) != n) for a, n in axes):
        sizes = ["x".join(map(str, one.shape)) for one in (mask, info)]
        raise UsageError(
            f"the mask is {sizes[0]} ({mask.letters}), and the data {sizes[1]} ({info.letters}): their sizes must "
            "agree, with one mask for all frames or one each"
        )
    return found


class Masked(Boxes):
    """A source whose samples are NaN where a mask is zero, or missing itself; alpha is none of them.

    ``info`` has the source's own type, and says that there are gaps: what is read are floats.  ``unmasked`` is the
    box that was read last as the source has it.
    """

    unmasked: np.ndarray

    def __init__(self, source: Source, mask: Source) -> None:
        self._source, self._mask = source, mask
        self._places = places_of(mask.info, source.info)
        self.info = replace(source.info, gaps=True)
        self.grain = source.grain if mask.grain.any_order else STRIPS
        self.later = source.later
        self._last: tuple[Box, np.ndarray] | None = None  # one mask for all frames is read once

    def read(self, box: Box) -> np.ndarray:
        info, block = self.info, self._source.read(box)
        self.unmasked = block
        wide = block.dtype.kind in "iu" and block.itemsize == 8
        block = block.astype("longdouble" if wide else np.result_type(block, np.float16))
        place = dict(zip(info.box_letters, box, strict=True))
        colours = info.channels - info.colour.has_alpha
        index = [slice(colours) if letter == "C" else slice(None) for letter in info.letters]
        colour, present = block[tuple(index)], self._present(place)[tuple(index)]
        colour[np.broadcast_to(~present, colour.shape)] = np.nan
        return block

    def _present(self, place: dict[str, tuple[int, int]]) -> np.ndarray:
        """Return where the mask is not zero, in a form that broadcasts with the data."""
        mask, places = self._mask.info, dict(zip(self._mask.info.letters, self._places, strict=True))
        box = tuple(place[places[letter]] for letter in mask.box_letters)
        if self._last is None or self._last[0] != box:
            self._last = box, self._whole(self._mask.read(box))
        return self._last[1]

    def _whole(self, values: np.ndarray) -> np.ndarray:
        present = (values != 0) & (values == values)
        places = self._places
        if "+" in places:
            axis = places.index("+")
            colours = self._mask.info.channels - self._mask.info.colour.has_alpha
            present = present.take(range(colours), axis).any(axis)
            places = places.replace("+", "")
        order = [places.index(letter) for letter in self.info.letters if letter in places]
        missing = [i for i, letter in enumerate(self.info.letters) if letter not in places]
        made: np.ndarray = np.expand_dims(present.transpose(order), missing)
        return made

    def close(self) -> None:
        self._source.close()
        self._mask.close()
