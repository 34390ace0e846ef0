"""The padding modes in the words of numpy and scipy.  Nothing of convcli is imported here: the table is an oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

NUMPY: dict[str, dict[str, Any]] = {  # our names, and the options of numpy.pad
    "zero": {"mode": "constant"},
    "constant": {"mode": "constant"},
    "replicate": {"mode": "edge"},
    "reflect": {"mode": "reflect"},
    "symmetric": {"mode": "symmetric"},
    "circular": {"mode": "wrap"},
    "antireflect": {"mode": "reflect", "reflect_type": "odd"},
}
BEYOND = {"antireflect"}  # what stands outside may be smaller or larger than all of the data
SCIPY = {  # the modes of scipy.ndimage
    "zero": "constant",
    "replicate": "nearest",
    "reflect": "mirror",
    "symmetric": "reflect",
    "circular": "wrap",
}


def padded(x: np.ndarray, widths: Sequence[Any] | int, mode: str, value: float = 0.0) -> np.ndarray:
    """Pad with numpy; ``value`` is what constant padding holds."""
    fill = {"constant_values": value} if mode == "constant" else {}
    return np.pad(x, widths, **NUMPY[mode], **fill)
