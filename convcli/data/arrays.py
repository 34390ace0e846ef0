"""Arrays as inputs."""

import numpy as np

from convcli.data.box import Box, slices
from convcli.data.info import Boxes, Info


class ArraySource(Boxes):
    """An array as an input, with its form or the letters of its axes."""

    def __init__(self, array: np.ndarray, form: Info | str) -> None:
        self._array = array
        self.info = form if isinstance(form, Info) else Info.of(form, array.shape, array.dtype.name)

    def read(self, box: Box) -> np.ndarray:
        return self._array[slices(self.info.spans(box))]
