"""The inputs of the benchmarks: made once, always the same, kept in a folder outside the project.

The folder is ``convcli-bench`` under the system's temporary folder, or ``$CONVCLI_BENCH_DIR``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

SEED = 20
STRIP = 64  # rows of a TIFF's strip
DENSE_TOP = 15  # a dense kernel's weights are whole numbers up to this, divided by their sum

# Turned by half a turn it is the same: correlation and convolution agree.  Nobody can take it apart.
WEIGHTS_3X3 = ((1, 2, 3), (4, 5, 4), (3, 2, 1))
SUM_3X3 = 25


@dataclass(frozen=True)
class Sizes:
    """How large the inputs are; the smaller ones are for trying the scripts out."""

    width: int = 4000
    height: int = 3000
    big: int = 16384
    small: int = 512
    rows: int = 2_000_000
    volume: tuple[int, int, int] = (128, 512, 512)


QUICK = Sizes(width=1000, height=750, big=2048, small=512, rows=50_000, volume=(16, 128, 128))


def folder() -> Path:
    """Return the folder for inputs and outputs, and make it if need be."""
    named = os.environ.get("CONVCLI_BENCH_DIR")
    path = Path(named) if named else Path(tempfile.gettempdir(), "convcli-bench")
    path.mkdir(parents=True, exist_ok=True)
    return path


def photograph(height: int, width: int, grey: bool = False) -> np.ndarray:
    """Return a picture like a photograph: a real one made larger, with a sensor's noise; uint8 (Y, X[, C])."""
    import skimage.data

    small = Image.fromarray(skimage.data.astronaut())
    if grey:
        small = small.convert("L")
    shown = min(small.width, small.height * width // height), min(small.height, small.width * height // width)
    large = small.crop((0, 0, *shown)).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.array(large)
    noise = np.random.default_rng(SEED)
    for rows in range(0, height, 256):  # in strips: the largest picture is 268 million pixels
        strip = pixels[rows : rows + 256]
        grain = noise.integers(-3, 4, strip.shape, dtype=np.int8)
        strip[...] = (strip.astype(np.int16) + grain).clip(0, 255).astype(np.uint8)
    return pixels


def dense_kernel(*sizes: int) -> np.ndarray:
    """Return a random kernel of full rank: whole numbers, at least 0, to be divided by their sum."""
    return np.random.default_rng(SEED).integers(0, DENSE_TOP + 1, sizes).clip(min=1)


class Data:
    """The files, each made when it is asked for first."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.folder = folder()

    def output(self, name: str) -> Path:
        """Return where a contestant writes."""
        return self.folder / f"out-{name}"

    @cached_property
    def photo_png(self) -> Path:
        return self._picture(self.sizes.height, self.sizes.width, "png")

    @cached_property
    def photo_jpeg(self) -> Path:
        return self._picture(self.sizes.height, self.sizes.width, "jpg")

    @cached_property
    def small_png(self) -> Path:
        return self._picture(self.sizes.small, self.sizes.small, "png")

    @cached_property
    def big_tiff(self) -> Path:
        return self.grey_tiff(self.sizes.big, self.sizes.big)

    def grey_tiff(self, height: int, width: int) -> Path:
        """Return a grey 8-bit TIFF in plain strips."""

        def make(path: Path) -> None:
            pixels = photograph(height, width, grey=True)
            tifffile.imwrite(path, pixels, photometric="minisblack", rowsperstrip=STRIP)

        return self._once(f"grey-{width}x{height}.tif", make)

    @cached_property
    def table(self) -> Path:
        """Return a table of three random walks with four decimals."""

        def make(path: Path) -> None:
            import polars

            steps = np.random.default_rng(SEED).normal(size=(self.sizes.rows, 3))
            walks = np.cumsum(steps, axis=0).round(4)
            polars.DataFrame(walks, schema=["a", "b", "c"]).write_csv(path)

        return self._once(f"walks-{self.sizes.rows}.csv", make)

    def volume(self) -> np.ndarray:
        """Return float32 (Z, Y, X)."""
        return np.random.default_rng(SEED).random(self.sizes.volume, dtype=np.float32)

    @cached_property
    def mask_3x3(self) -> Path:
        """Return the small kernel as vips reads it."""
        return self.vips_mask(np.array(WEIGHTS_3X3))

    def vips_mask(self, weights: np.ndarray) -> Path:
        """Return a file with a kernel of whole numbers, to be divided by their sum, as vips reads it."""
        height, width = weights.shape

        def make(path: Path) -> None:
            lines = [" ".join(map(str, row)) for row in weights.tolist()]
            path.write_text(
                f"{width} {height} {weights.sum()} 0\n" + "\n".join(lines) + "\n", encoding="ascii"
            )

        return self._once(f"mask-{width}x{height}-{weights.sum()}.mat", make)

    def kernel_file(self, weights: np.ndarray) -> Path:
        """Return a kernel of sum 1 as convcli and the OpenCV script read it."""
        height, width = weights.shape
        name = f"kernel-{width}x{height}-{weights.sum()}.npy"
        return self._once(name, lambda path: np.save(path, weights / weights.sum()))

    def _picture(self, height: int, width: int, suffix: str) -> Path:
        def make(path: Path) -> None:
            Image.fromarray(photograph(height, width)).save(path, quality=92)

        return self._once(f"photo-{width}x{height}.{suffix}", make)

    def _once(self, name: str, make: Callable[[Path], object]) -> Path:
        path = self.folder / name
        if not path.exists():
            half = path.with_name(f"half-{name}")
            make(half)
            half.rename(path)
        return path


def inline_3x3() -> str:
    """Return the small kernel as convcli's command line takes it."""
    return ";".join(",".join(f"{weight}/{SUM_3X3}" for weight in row) for row in WEIGHTS_3X3)


def decimal_3x3() -> str:
    """Return the small kernel as ImageMagick takes it."""
    return ",".join(f"{weight / SUM_3X3}" for row in WEIGHTS_3X3 for weight in row)
