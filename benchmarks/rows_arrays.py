"""Rows in one process: arrays in memory, libraries loaded, beside OpenCV, scipy and torch itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from bench import LEVEL, OURS, Bench, Check, Line, Peer
from data import dense_kernel, photograph

KERNELS = (3, 5, 7, 15, 31, 63, 127, 255)


def grey(bench: Bench) -> Iterator[Line]:
    yield from _dense(bench, "grey", 1)


def rgb(bench: Bench) -> Iterator[Line]:
    yield from _dense(bench, "rgb", 3)


def _dense(bench: Bench, row: str, channels: int) -> Iterator[Line]:
    """Random kernels of every size; both continue the picture with its edge."""
    import cv2

    sizes = bench.data.sizes
    image = photograph(sizes.height, sizes.width, grey=channels == 1)
    for k in KERNELS:
        if k >= min(image.shape[:2]):
            continue
        weights = dense_kernel(k, k)
        kernel = (weights / weights.sum()).astype(np.float32)
        ours = partial(_ours, image, kernel, range="clip", axes="YXC"[: image.ndim])
        theirs = partial(cv2.filter2D, image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        work = f"in process, {_megapixels(image)} {row} u8 → u8, {k}×{k} dense"
        goal = (0.8 if k <= (3 if channels == 1 else 5) else 1.0) if k < 63 or channels > 1 else 1.2
        yield from bench.lines(
            row, work, ours, {"OpenCV filter2D": Peer(goal, theirs)}, partial(_same, ours, theirs)
        )


def smooth(bench: Bench) -> Iterator[Line]:
    import cv2

    sizes = bench.data.sizes
    image = photograph(sizes.height, sizes.width, grey=True)
    edge = cv2.BORDER_REPLICATE
    cases: list[tuple[str, str, str, Callable[[], Any]]] = [
        (
            f"Gaussian σ={sigma}",
            f"gaussian:sigma={sigma}",
            "OpenCV GaussianBlur",
            partial(cv2.GaussianBlur, image, (8 * sigma + 1,) * 2, sigma, borderType=edge),
        )
        for sigma in (2, 8)
    ]
    cases.append(
        ("box 31", "box:31", "OpenCV blur", partial(cv2.blur, image, (31, 31), borderType=edge)),
    )
    for name, kernel, peer, theirs in cases:
        ours = partial(_ours, image, kernel, range="clip")
        work = f"in process, {_megapixels(image)} grey u8 → u8, {name}"
        yield from bench.lines("smooth", work, ours, {peer: Peer(0.5, theirs)}, partial(_same, ours, theirs))


def ranks(bench: Bench) -> Iterator[Line]:
    """Medians and maxima of whole windows; scipy's are of a small part, in place of minutes."""
    import cv2
    from scipy import ndimage

    sizes = bench.data.sizes
    image = photograph(sizes.height, sizes.width, grey=True)
    wide = image.astype(np.uint16) * 257
    for k in (3, 5, 7, 31, 101, 257):
        if k >= min(image.shape):
            continue
        ours = partial(_ours, image, f"median:{k}", range="clip")
        theirs = partial(cv2.medianBlur, image, k)
        check = partial(_same, ours, theirs)
        work = f"in process, {_megapixels(image)} grey u8 → u8, median {k}×{k}"
        yield from bench.lines("ranks", work, ours, {"OpenCV medianBlur": Peer(1.0, theirs)}, check)
        ours = partial(_ours, image, f"max:{k}", range="clip")
        theirs = partial(cv2.dilate, image, np.ones((k, k), np.uint8))
        check = partial(_same, ours, theirs)
        work = f"in process, {_megapixels(image)} grey u8 → u8, maximum {k}×{k}"
        yield from bench.lines("ranks", work, ours, {"OpenCV dilate": Peer(1.0, theirs)}, check)
    part = wide[:230, :230]
    ours = partial(_ours, part, None, pool="median:31,s=1", range="clip")
    theirs = partial(ndimage.median_filter, part, 31)
    check = partial(_same, ours, lambda: theirs()[15:-15, 15:-15])
    work = f"in process, {_megapixels(part)} grey u16 → u16, median 31×31"
    yield from bench.lines("ranks", work, ours, {"scipy median_filter": Peer(10.0, theirs)}, check)


def volume(bench: Bench) -> Iterator[Line]:
    import torch
    from scipy import ndimage  # type: ignore[import-untyped]
    from torch.nn import functional as F

    data = bench.data.volume()
    tensor = torch.from_numpy(data)[None, None]
    for sizes, goals in (((2, 3, 3), (4, 4)), ((5, 5, 5), (10, 3))):
        weights = dense_kernel(*sizes)
        kernel = (weights / weights.sum()).astype(np.float32)
        flat = torch.from_numpy(kernel)[None, None]
        origin = tuple((k - 1) // 2 - k // 2 for k in sizes)  # scipy centres even kernels one later
        ours = partial(_ours, data, kernel)
        theirs = partial(ndimage.correlate, data, kernel, mode="nearest", origin=origin)
        naive = partial(F.conv3d, tensor, flat)  # the inside only: it has nothing to pad

        def check(
            ours: Callable[[], np.ndarray] = ours, theirs: Callable[[], np.ndarray] = theirs
        ) -> dict[str, list[Check]]:
            difference = float(np.abs(ours() - theirs()).max())
            return {
                "scipy.ndimage.correlate": [Check(f"largest difference {difference:.1g}", difference < 1e-5)]
            }

        name = "×".join(map(str, sizes))
        work = f"3-D, {name} dense on {'×'.join(map(str, data.shape))} float32"
        peers = {
            "scipy.ndimage.correlate": Peer(goals[0], theirs),
            "naive F.conv3d": Peer(goals[1], naive),
        }
        yield from bench.lines("volume", work, ours, peers, check)


def _ours(array: np.ndarray, kernel: Any, **options: Any) -> np.ndarray:
    import torch  # noqa: F401  # loaded as in a program that has been running for a while

    import convcli

    return convcli.filter(array, kernel, **options)


def _same(ours: Callable[[], np.ndarray], theirs: Callable[[], np.ndarray]) -> dict[str, list[Check]]:
    difference = int(np.abs(ours().astype(np.int64) - theirs()).max())
    return {OURS: [Check(f"largest difference {difference} level(s)", difference <= LEVEL)]}


def _megapixels(image: np.ndarray) -> str:
    return f"{image.shape[0] * image.shape[1] / 1e6:.3g} MP"
