"""The sample clips: a ball that moves, drawn and known exactly.

``ball`` is the textbook's clip; as an array it is too large to keep (512 kB), so `write` makes it where it is wanted.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 25
EVENTS = ((11, 35), (66, 90))  # of `walk`: the first and the last frame that differ from the one before


def disc(size: tuple[int, int], x: float, y: float, radius: float) -> np.ndarray:
    """Return how much of each pixel a disc covers, (Y, X), with an edge one pixel wide."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.clip(radius + 0.5 - np.hypot(rows - y, columns - x), 0, 1)


def ball() -> np.ndarray:
    """A uniform ball that moves 12 pixels a frame over an even ground, 5 frames of 320×320, 8 bits."""
    frames = [40 + 180 * disc((320, 320), 100 + 12 * index, 160 - 6 * index, 40) for index in range(5)]
    return np.rint(frames).astype(np.uint8)


def walk(noise: float = 0.0, seed: int = 5) -> np.ndarray:
    """Four seconds of 160×120: a ball moves for a second, rests, then two move; `EVENTS` says when.

    Parameters
    ----------
    noise : float
        Standard deviation, in grey levels.
    """
    size = (120, 160)
    rows, columns = np.mgrid[: size[0], : size[1]]
    ground = 90 + 30 * np.sin(columns / 17) + 20 * np.cos(rows / 11)
    random = np.random.default_rng(seed)
    frames = []
    for index in range(100):
        first, second = min(max(index - 10, 0), 25), min(max(index - 65, 0), 25)
        one = disc(size, 20 + 2 * first + 2 * second, 40, 10)
        two = disc(size, 140 - 2 * second, 85, 7)
        frame = ground * (1 - one) + 230 * one
        frame = frame * (1 - two) + 20 * two
        frames.append(frame + random.normal(0, noise, size) if noise else frame)
    return np.rint(np.clip(frames, 0, 255)).astype(np.uint8)


def write(frames: np.ndarray, path: Path) -> None:
    """Write grey frames as ``.npy``, or as a clip in H.264."""
    if path.suffix == ".npy":
        np.save(path, frames)
        return
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        options = {"crf": "16", "preset": "veryslow", "threads": "1"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "yuv420p"
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
