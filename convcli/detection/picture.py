"""Motion drawn: over the original frames, summed up in one picture, as a strip of samples."""

from collections.abc import Sequence

import numpy as np

from convcli.detection.events import Box

_TINT = (255, 64, 32)  # of 255: what moves
_FRAME = (255, 220, 0)  # of 255: the box around it
_HEAT = np.array(  # black, violet, red, orange, yellow, white: dark to light, so that it reads in grey too
    [(0, 0, 0), (84, 16, 110), (188, 40, 74), (240, 112, 32), (252, 204, 60), (255, 255, 255)], np.float32
)
_BACKGROUND = 0.35  # how bright the scene is behind the heat
_GAP = 4  # pixels between the frames of a strip


def colours(frame: np.ndarray) -> np.ndarray:
    """Return grey (Y, X) or colour (Y, X, C) as a copy of three channels; alpha is left out."""
    if frame.ndim == 3 and frame.shape[2] >= 3:
        return frame[..., :3].copy()
    grey = frame[..., 0] if frame.ndim == 3 else frame
    return np.repeat(grey[..., None], 3, axis=2)


def overlay(frame: np.ndarray, mask: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Draw what moves over a frame.

    Parameters
    ----------
    frame : ndarray
        (Y, X) or (Y, X, C) of an unsigned integer type.
    mask : ndarray
        (Y, X), what moves.
    boxes : sequence of (x, y, width, height)
        Drawn around it, two pixels wide.

    Returns
    -------
    ndarray
        (Y, X, 3) of the frame's type.
    """
    drawn = colours(frame)
    white = np.iinfo(drawn.dtype).max
    tint = np.array(_TINT, np.float32) * (white / 255)
    drawn[mask] = (drawn[mask] * 0.5 + tint * 0.5).astype(drawn.dtype)
    edge = np.array(_FRAME, np.float64) * (white / 255)
    for left, top, width, height in boxes:
        inside = drawn[top : top + height, left : left + width]
        ring = np.ones(inside.shape[:2], bool)
        ring[2:-2, 2:-2] = False
        inside[ring] = edge.astype(drawn.dtype)
    return drawn


class HeatMap:
    """Adds up where and how much something moves.

    Parameters
    ----------
    shape : (height, width)
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.sum = np.zeros(shape, np.float32)

    def add(self, values: np.ndarray, mask: np.ndarray) -> None:
        """Add the size of a result (Y, X) where it moves."""
        self.sum[mask] += np.abs(values[mask])

    def picture(self, background: np.ndarray | None = None) -> np.ndarray:
        """Return the sum as colours, (Y, X, 3) of 8 bits, over a dim scene.

        The most is white; the scale is a square root, so that little is seen beside much.

        Parameters
        ----------
        background : ndarray, optional
            A frame of the clip, (Y, X) or (Y, X, C).
        """
        most = float(self.sum.max(initial=0))
        level = np.sqrt(self.sum / most) if most else self.sum
        places = np.linspace(0, 1, len(_HEAT))
        heat = np.stack([np.interp(level, places, colour) for colour in _HEAT.T], axis=-1)
        if background is not None:
            scene = colours(background).mean(axis=2) * (255 / np.iinfo(background.dtype).max)
            heat = np.maximum(heat, _BACKGROUND * scene[..., None])
        return np.rint(heat).astype(np.uint8)


def strip(frames: list[np.ndarray]) -> np.ndarray:
    """Lay frames (Y, X) or (Y, X, C) side by side, with white between them.

    >>> strip([np.zeros((2, 3), np.uint8)] * 2).shape
    (2, 10)
    """
    white = np.iinfo(frames[0].dtype).max
    gap = np.full_like(frames[0][:, :1], white).repeat(_GAP, axis=1)
    parts = [part for frame in frames for part in (gap, frame)]
    return np.concatenate(parts[1:], axis=1)
