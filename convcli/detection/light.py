"""Light that changes: the gain and the offset between two frames, whatever moves in them."""

import numpy as np

from convcli.common import frozen

_POINTS = 4096  # that are compared, each the mean of some pixels side by side
_WIDE = 8  # pixels
_GROUPS = 16  # of about the same brightness
_PAIRS = 32  # of groups, at least, that say something about the gain: some three against all others
_APART = 0.3  # of what all span: groups closer than this tell little about the gain
_SMALLEST = 0.5 / 255  # of white: a change of less is none


@frozen
class Light:
    """A frame's light in terms of another's: ``gain · frame + offset``."""

    gain: float
    offset: float
    change: float  # the most that it makes of any brightness in the scene

    def applied(self, frame: np.ndarray, white: float) -> np.ndarray:
        """Return a frame in the other's light, of its own type."""
        if frame.dtype.kind == "f":
            return frame * np.float32(self.gain) + np.float32(self.offset)
        if frame.dtype == np.uint8:
            return self.applied(np.arange(256, dtype=np.uint16), white).astype(np.uint8)[frame]
        return self.applied(frame.astype(np.float32), white).clip(0, white).round().astype(frame.dtype)


def light_change(before: np.ndarray, after: np.ndarray, white: float) -> Light | None:
    """Return by what gain and offset the light of a scene (Y, X) has changed, or that it has not.

    Medians of groups of about the same brightness, and the median of the slopes between them (Theil and Sen), so that
    what moves, in less than a third of the picture, has no say.  Black and white are left out: they are clipped.
    """
    columns = before.shape[1] // _WIDE * _WIDE
    rows = max(before.shape[0] * columns // (_WIDE * _POINTS), 1)
    x, y = (
        frame[rows // 2 :: rows, :columns].reshape(-1, _WIDE).mean(axis=1, dtype=np.float32)
        for frame in (before, after)
    )
    inside = (np.minimum(x, y) > white / 255) & (np.maximum(x, y) < 0.99 * white)
    x, y = x[inside], y[inside]
    if len(x) < 2 * _GROUPS:
        return None
    order = np.argsort(x + y)  # by both, so that noise does not flatten the slope
    order = order[: len(order) // _GROUPS * _GROUPS].reshape(_GROUPS, -1)
    x, y = np.median(x[order], axis=1), np.median(y[order], axis=1)
    rise, run = y[:, None] - y, x[:, None] - x
    apart = run > max(_APART * np.ptp(x), 2 * white / 255)
    gain = float(np.median(rise[apart] / run[apart])) if apart.sum() >= _PAIRS else 1.0
    offset = float(np.median(y - gain * x))
    change = float(np.abs(gain * x + offset - x).max())
    worse = np.median(np.abs(gain * x + offset - y)) - np.median(np.abs(x - y))
    return Light(gain, offset, change) if worse < _SMALLEST * white < change else None
