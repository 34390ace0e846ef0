"""Statistics of windows as numpy and scipy have them, the taps on the last axis; missing samples are left out."""

from collections.abc import Callable

import numpy as np
import scipy.stats


def _majority(windows: np.ndarray, axis: int | None = None) -> np.ndarray:
    found: np.ndarray = scipy.stats.mode(windows, axis, nan_policy="omit").mode
    return found


def _count(windows: np.ndarray, axis: int | None = None) -> np.ndarray:
    found = np.count_nonzero(~np.isnan(windows), axis=axis).astype(float)
    return np.where(found > 0, found, np.nan)


OF_NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "avg": np.nanmean,
    "max": np.nanmax,
    "min": np.nanmin,
    "median": np.nanmedian,
    "percentile": lambda windows, axis=None: np.nanpercentile(windows, 90, axis=axis),
    "std": np.nanstd,
    "var": np.nanvar,
    "range": lambda windows, axis=None: np.nanmax(windows, axis=axis) - np.nanmin(windows, axis=axis),
    "majority": _majority,
    "count": _count,
}
