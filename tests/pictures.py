"""Pictures for tests, and the parts of PNGs made by hand."""

from __future__ import annotations

import struct
import zlib

import numpy as np

RNG = np.random.default_rng(20)  # one after the other: pictures of one size differ


def smooth(height: int, width: int, channels: int, dtype: str = "uint8") -> np.ndarray:
    """A picture with structure and noise, no symmetry, so that every filter type has its rows."""
    y, x = np.mgrid[:height, :width]
    top = np.iinfo(dtype).max
    planes = [(np.sin(x / (9 + c)) + np.cos((y * (c + 1) + x) / 17) + 2) / 4 for c in range(channels)]
    noise = RNG.normal(0, 0.01, (height, width, channels))
    pixels = np.clip((np.stack(planes, -1) + noise) * top, 0, top).astype(dtype)
    return pixels[..., 0] if channels == 1 else pixels


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
