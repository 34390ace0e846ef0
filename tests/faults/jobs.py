"""The jobs that are disturbed: a picture, a table and a clip, each long enough to be hit while it writes.

Other outputs and commands are disturbed at fewer moments, for they end by the same ways.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile
import tifffile
from astropy.io import fits
from PIL import Image

from tests import clips


@dataclass(frozen=True)
class Kind:
    """A kind of job: its files' suffixes, what makes its input of a size, and its options."""

    name: str
    source: str
    target: str
    make: Callable[[Path, int], object]
    size: int
    small: int
    options: tuple[str, ...]
    command_words: tuple[str, ...] = ("filter",)
    moments: int = 20
    pipes: bool = True  # whether the output may be standard output

    def command(self, source: Path, target: Path | str) -> list[str]:
        words = [word.replace("BESIDE", str(source.parent)) for word in self.command_words]
        options = [word.replace("SOURCE", str(source)) for word in self.options]
        return [*words, str(source), *options, "-y", "-o", str(target)]


def _picture(path: Path, size: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (size, size, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", rowsperstrip=16)


def _table(path: Path, size: int) -> None:
    numbers = np.random.default_rng(2).normal(0, 9, (size, 3)).round(4)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "a", "b", "c"])
        writer.writerows([index / 10, *row] for index, row in enumerate(numbers.tolist()))


def _clip(path: Path, size: int) -> None:
    clips.make(path, clips.pattern(size, 240, 320))


def _animation(path: Path, size: int) -> None:
    frames = [Image.fromarray(frame).quantize(64) for frame in clips.pattern(size, 120, 160)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)


def _pages(path: Path, size: int) -> None:
    pixels = np.random.default_rng(3).integers(0, 1 << 16, (5, size, size), np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack")


def _array(path: Path, size: int) -> None:
    np.save(path, np.random.default_rng(4).normal(0, 9, (size, size)).astype(np.float32))


def _sound(path: Path, size: int) -> None:
    soundfile.write(path, np.random.default_rng(5).normal(0, 0.1, (size, 2)), 48_000, "PCM_24")


def _columns(path: Path, size: int) -> None:
    numbers = np.random.default_rng(6).normal(0, 9, (size, 3))
    pl.DataFrame(numbers, schema=["a", "b", "c"]).write_parquet(path)


def _grey(path: Path, size: int) -> None:
    Image.fromarray(np.random.default_rng(7).integers(0, 256, (size, size), np.uint8)).save(path)


def _sky(path: Path, size: int) -> None:
    fits.writeto(path, np.random.default_rng(8).normal(0, 9, (size, size)).astype(np.float32))


NUMPY = ("--engine", "numpy", "--threads", "1")
KINDS = (
    Kind("image", ".tif", ".png", _picture, 1600, 300, ("-k", "gaussian:sigma=1", *NUMPY)),
    Kind("table", ".csv", ".csv", _table, 150_000, 4000, ("-k", "binomial5", *NUMPY)),
    Kind("video", ".mp4", ".mp4", _clip, 60, 4, ("-k", "box:5", "--preset", "veryfast", *NUMPY)),
)
_FEW: dict[str, Any] = {"moments": 5}
_NET = "layers: [conv: {kernel: sobel, padding: same, pad_mode: replicate}]"
OTHERS = (
    Kind("APNG", ".gif", ".png", _animation, 40, 4, ("-k", "box:5", "--frames", "all", *NUMPY), **_FEW),
    Kind(
        "WebP of frames",
        ".gif",
        ".webp",
        _animation,
        12,
        4,
        ("-k", "box:5", "--frames", "all", *NUMPY),
        **_FEW,
    ),
    Kind("AVI", ".mp4", ".avi", _clip, 60, 8, ("-k", "box:5", *NUMPY), **_FEW),
    Kind("TIFF of pages", ".tif", ".tif", _pages, 600, 60, ("-k", "box:5", *NUMPY), **_FEW),
    Kind(
        "array by regions", ".npy", ".npy", _array, 1500, 100, ("-k", "box:5", "--axes", "YX", *NUMPY), **_FEW
    ),
    Kind(
        "store",
        ".npy",
        ".zarr",
        _array,
        1000,
        100,
        ("-k", "box:5", "--axes", "YX", *NUMPY),
        pipes=False,
        **_FEW,
    ),
    Kind(
        "net run",
        ".tif",
        ".npy",
        _picture,
        500,
        60,
        ("--format", "npy"),
        ("net", "run", "BESIDE/net.yaml"),
        **_FEW,
    ),
    Kind(
        "learn",
        ".tif",
        ".yaml",
        _picture,
        500,
        60,
        ("SOURCE", "--size", "5x5"),
        ("learn",),
        pipes=False,
        **_FEW,
    ),
    Kind("sound", ".wav", ".flac", _sound, 1_500_000, 40_000, ("-k", "box:5", *NUMPY), **_FEW),
    Kind("coded sound", ".flac", ".m4a", _sound, 400_000, 40_000, ("-k", "box:5", *NUMPY), **_FEW),
    Kind("columns", ".parquet", ".arrow", _columns, 300_000, 9_000, ("-k", "box:5", *NUMPY), **_FEW),
    Kind("NRRD", ".npy", ".nrrd", _array, 1500, 100, ("-k", "box:5", "--axes", "YX", *NUMPY), **_FEW),
    Kind("MetaImage", ".npy", ".mha", _array, 1500, 100, ("-k", "box:5", "--axes", "YX", *NUMPY), **_FEW),
    Kind("HDF5", ".npy", ".h5", _array, 1500, 100, ("-k", "box:5", "--axes", "YX", *NUMPY), **_FEW),
    *(
        Kind(
            name,
            ".tif",
            suffix,
            _picture,
            80 if suffix == ".avif" else 400,
            60,
            ("-k", "box:5", *NUMPY),
            **_FEW,
        )
        for name, suffix in (
            *(
                ("AVIF", ".avif"),
                ("JPEG XL", ".jxl"),
                ("JPEG 2000", ".jp2"),
                ("JPEG 2000 stream", ".j2k"),
                ("QOI", ".qoi"),
            ),
            *(("TGA", ".tga"), ("PPM", ".ppm"), ("BMP", ".bmp"), ("JPEG", ".jpg"), ("GIF", ".gif")),
        )
    ),
    *(
        Kind(name, ".npy", suffix, _array, 1000, 100, ("-k", "box:5", "--axes", "YX", *NUMPY), **_FEW)
        for name, suffix in (
            *(("PFM", ".pfm"), ("NetCDF", ".nc"), ("NIfTI", ".nii"), ("packed NIfTI", ".nii.gz")),
            *(("TSV", ".tsv"), ("OME-TIFF", ".ome.tif")),
        )
    ),
    Kind("PGM", ".pgm", ".pgm", _grey, 1000, 100, ("-k", "box:5", *NUMPY), **_FEW),
    Kind("FITS", ".fits", ".fits", _sky, 1000, 100, ("-k", "box:5", *NUMPY), **_FEW),
    Kind("motion", ".mp4", ".avi", _clip, 60, 8, ("--codec", "ffv1"), ("motion",), **_FEW),
)


@functools.cache
def made(kind: Kind, size: int, folder: Path) -> Path:
    """Return a job's input, made once."""
    path = folder / f"{kind.name}-{size}{kind.source}"
    kind.make(path, size)
    (folder / "net.yaml").write_text(_NET)
    return path
