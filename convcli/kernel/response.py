"""What a kernel does to frequencies: gains, where they fall to half the power, its delay, and what strides fold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from convcli.common import frozen

SHOWN = 512  # points of a curve around the whole circle
HALF_POWER = math.sqrt(0.5)  # of the gain: -3 dB
POINTS = {1: 4096, 2: 256, 3: 64}  # of a transform along each axis, at least, by the number of axes
MOST = 1 << 22  # points of the transform that tells what strides fold
STRIDES = (2, 3, 4)


@frozen
class Response:
    """The response of one filter.

    Attributes
    ----------
    at_zero : float
        The gain of what does not change: the sum of the weights.
    curves : tuple of tuple of float
        Along each axis the gains from 0 to 0.5 cycles a sample, the other frequencies being 0.
    edges : tuple of tuple of float
        Along each axis where the gain crosses `HALF_POWER` of the curve's largest, in cycles a sample.
    delays : tuple of float or None
        Along each axis the samples by which results lie behind the data; None where that depends on the frequency.
    folded : mapping of int to float
        By stride, the share of the energy of white noise behind the filter that lies above the new limit; empty for
        large filters.
    """

    at_zero: float
    curves: tuple[tuple[float, ...], ...]
    edges: tuple[tuple[float, ...], ...]
    delays: tuple[float | None, ...]
    folded: Mapping[int, float]


def response(weights: np.ndarray, origin: Sequence[int]) -> Response:
    """Return what a filter does to frequencies; weights (*space) as they are correlated with the data."""
    curves, edges, delays = [], [], []
    for axis, k in enumerate(weights.shape):
        n = max(POINTS[1], _power(k))
        others = tuple(other for other in range(weights.ndim) if other != axis)
        line = weights.sum(axis=others)
        curve = np.abs(np.fft.rfft(line, n))
        curves.append(tuple(curve[:: max(n // SHOWN, 1)].tolist()))
        edges.append(_crossings(curve, HALF_POWER * curve.max(), n))
        mirrored = any(
            np.allclose(line, sign * line[::-1], rtol=0, atol=1e-12 * np.abs(line).max()) for sign in (1, -1)
        )
        delays.append(origin[axis] - (k - 1) / 2 if mirrored else None)
    return Response(float(weights.sum()), tuple(curves), tuple(edges), tuple(delays), _folded(weights))


def gains(weights: np.ndarray, n: int) -> np.ndarray:
    """Return the gains of one filter (*space) at an odd number n of frequencies along each axis.

    They lie from -0.5 to 0.5 cycles a sample, 1 / n apart, with 0 in the middle.
    """
    whole = np.pad(weights, [(0, -k % n) for k in weights.shape])  # taps n apart turn alike
    for axis in range(weights.ndim):
        parts = (whole.shape[axis] // n, n)
        whole = whole.reshape(*whole.shape[:axis], *parts, *whole.shape[axis + 1 :]).sum(axis)
    return np.fft.fftshift(np.abs(np.fft.fftn(whole)))


def _power(k: int) -> int:
    """Return the power of two from twice as many taps on."""
    return 1 << (2 * k - 1).bit_length()


def _folded(weights: np.ndarray) -> Mapping[int, float]:
    # The response is the same at all frequencies of axes of one tap.
    axes = [axis for axis, k in enumerate(weights.shape) if k > 1]
    shape = [max(POINTS[weights.ndim], _power(weights.shape[axis])) for axis in axes]
    if math.prod(shape) > MOST or not weights.any():
        return {}
    energy = np.abs(np.fft.fftn(weights, shape, axes)) ** 2
    shares = {}
    for stride in STRIDES:
        kept = energy
        for axis, n in zip(axes, shape, strict=True):
            kept = kept.compress(np.abs(np.fft.fftfreq(n)) <= 0.5 / stride, axis)
        shares[stride] = float(1 - kept.sum() / energy.sum() / stride ** (weights.ndim - len(axes)))
    return shares


def _crossings(curve: np.ndarray, level: float, n: int) -> tuple[float, ...]:
    """Return where a curve crosses a level, between its points by straight lines."""
    above = curve >= level
    found = np.flatnonzero(above[1:] != above[:-1]) if curve.max() > 0 else np.empty(0, int)
    part = (level - curve[found]) / (curve[found + 1] - curve[found])
    return tuple(((found + part) / n).tolist())
