"""Arrays as inputs."""

from __future__ import annotations

import numpy as np

from convcli.data.info import Info


class ArraySource:
    """An array as an input."""

    def __init__(self, array: np.ndarray, axes: str) -> None:
        self._array = array
        self.info = Info.of(axes, array.shape, array.dtype.name)

    def read(self, start: int, stop: int) -> np.ndarray:
        index: list[slice] = [slice(None)] * self._array.ndim
        index[self.info.stream_axis] = slice(start, stop)
        return self._array[tuple(index)]

    def close(self) -> None:
        pass
