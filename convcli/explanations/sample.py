"""A small scene, a signal and a clip on which a kernel shows what it does."""

import numpy as np

SIDE, FRAMES, LENGTH = 72, 9, 200


def sample(rank: int) -> np.ndarray:
    """Return a noisy signal of steps and a wave (x), a drawing (y, x), or a disk that moves to the right (t, y, x).

    >>> [sample(rank).shape for rank in (1, 2, 3)]
    [(200,), (72, 72), (9, 72, 72)]
    """
    random = np.random.default_rng(5)
    if rank == 1:
        x = np.arange(LENGTH)
        return np.sin(x / 9) + (x > 60) - 1.5 * (x > 130) + random.normal(0, 0.15, LENGTH)
    y, x = np.mgrid[:SIDE, :SIDE]
    if rank == 3:
        disks = [np.hypot(x - 24 - 3 * at, y - SIDE / 2) < 14 for at in range(FRAMES)]
        return (60 + 140 * np.stack(disks)).astype(np.uint8)
    scene = np.where(y < 48, 190.0 - y, 90.0)  # a sky and the ground
    scene[np.hypot(x - 52, y - 16) < 9] = 240
    scene[(np.abs(x - 22) + 26 < y) & (y < 42)] = 50  # a roof, and below it a house and a fence
    scene[(y > 41) & (np.abs(x - 22) < 12)] = 150
    scene[y > 58] = np.where((x // 3) % 2, 60, 200)[y > 58]
    dots = random.random(scene.shape)
    scene[(dots < 0.01) & (y < 48)] = 0
    return (scene + random.normal(0, 4, scene.shape)).clip(0, 255).astype(np.uint8)
