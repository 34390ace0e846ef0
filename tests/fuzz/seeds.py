"""Small real files for every reader, made by other writers: Pillow, tifffile, numpy, safetensors, FFmpeg."""

from __future__ import annotations

import io
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import av
import numpy as np
import tifffile
from PIL import Image

from tests import clips

ROOT = Path(__file__).parents[2]
Y, X = np.mgrid[:14, :19]
GREY = ((np.sin(X / 3) + np.cos(Y / 2) + 2) * 60).astype(np.uint8)
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], -1)
DEEP = GREY.astype(np.uint16) * 257
MOVING = [Image.fromarray(np.roll(RGB, 3 * shift, 1) // 32 * 32) for shift in range(3)]
CLIPS = {  # how the tests' clips are coded, a container each
    "mp4": {"codec": "libx264"},
    "mkv": {"codec": "ffv1"},
    "webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "mov": {"codec": "libx264", "rotation": 90},
    "ts": {"codec": "libx264"},
    "y4m": {"codec": "wrapped_avframe"},
}


def pillow(picture: Image.Image | np.ndarray, format: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, format, **settings)
    return file.getvalue()


def moving(format: str) -> bytes:
    return pillow(MOVING[0], format, save_all=True, append_images=MOVING[1:])


def tiff(pixels: np.ndarray, **settings: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **settings)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@cache
def clip(suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a.{suffix}")
        frames = clips.pattern(3, 32, 32)
        if suffix == "y4m":
            planes = b"".join(b"FRAME\n" + bytes(plane) for plane in frames[..., 0])
            return b"YUV4MPEG2 W32 H32 F25:1 Ip A1:1 Cmono\n" + planes
        clips.make(path, frames, **CLIPS[suffix])
        return path.read_bytes()


@cache
def files(reader: str) -> tuple[bytes, ...]:
    """Return the whole files of a reader that are spoiled."""
    image = Image.fromarray(RGB)
    alpha = Image.fromarray(np.dstack([RGB, GREY]))
    match reader:
        case "png":
            extras = {
                "icc_profile": b"x" * 200,
                "dpi": (3, 4),
                "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0",
            }
            kinds = (RGB, GREY, DEEP, alpha, image.quantize(9), Image.fromarray(GREY > 99))
            return (*(pillow(kind, "PNG") for kind in kinds), pillow(RGB, "PNG", **extras), moving("PNG"))
        case "jpeg":
            return (
                pillow(RGB, "JPEG"),
                pillow(RGB, "JPEG", progressive=True),
                pillow(GREY, "JPEG"),
                pillow(image.convert("CMYK"), "JPEG"),
            )
        case "webp":
            return pillow(RGB, "WEBP"), pillow(alpha, "WEBP", lossless=True), moving("WEBP")
        case "bmp":
            return tuple(pillow(kind, "BMP") for kind in (RGB, GREY, image.quantize(9), alpha))
        case "gif":
            return pillow(GREY, "GIF"), pillow(image.quantize(9), "GIF"), moving("GIF")
        case "tiff strips":
            return (
                tiff(RGB, rowsperstrip=3),
                tiff(DEEP, byteorder=">"),
                tiff(GREY.astype(np.float32), bigtiff=True),
                tiff(np.stack([DEEP] * 3), imagej=True),
                tiff(np.stack([DEEP] * 3), ome=True),
                tiff(np.moveaxis(RGB, 2, 0).copy(), photometric="rgb", planarconfig="separate"),
                pillow(image.quantize(9), "TIFF"),
            )
        case "tiff tiles":
            return tiff(RGB, tile=(16, 16)), tiff(RGB, tile=(16, 16), compression="zlib", predictor=True)
        case "tiff compressed":
            coded = ("zlib", "lzw", "packbits", "zstd", "lzma", "jpeg", "webp", "jpeg2000")
            return (
                *(tiff(RGB, photometric="rgb", compression=name) for name in coded),
                pillow(Image.fromarray(GREY > 99), "TIFF", compression="group4"),
                pillow(Image.fromarray(GREY > 99), "TIFF", compression="group3"),
            )
        case "avif" | "jp2" | "ppm" | "tga" | "dds" | "ico" | "qoi":
            name = {"jp2": "JPEG2000"}.get(reader, reader.upper())
            return tuple(pillow(kind, name) for kind in (image, alpha)[: 1 + (reader not in ("ppm", "jp2"))])
        case "npy":
            kinds = (RGB, GREY.astype(">i2"), GREY.astype(np.float64), np.asfortranarray(DEEP), GREY[0] > 99)
            return tuple(map(npy, kinds))
        case "npz":
            stored, packed = io.BytesIO(), io.BytesIO()
            np.savez(stored, a=np.arange(9.0).reshape(3, 3), b=np.ones(4, np.int8))
            np.savez_compressed(packed, a=np.arange(9.0).reshape(3, 3))
            with zipfile.ZipFile(mixed := io.BytesIO(), "w", zipfile.ZIP_BZIP2) as archive:
                archive.writestr("a.npy", npy(np.eye(3)))
            return stored.getvalue(), packed.getvalue(), mixed.getvalue()
        case "safetensors":
            from safetensors.numpy import save

            weights = np.arange(9, dtype=np.float32).reshape(3, 3)
            return save({"a": weights}), save({"a": weights, "b": weights.astype(np.float16)})
        case "csv":
            return (
                (ROOT / "samples/noisy-signal.csv").read_bytes()[:400],
                b"time;a;name\r\n0,5;1,25;x\r\n1,0;;y\r\n1,5;3,5;z\r\n",
                b'a,"b, c",d\n1,"2",3\n4,"5",6\n7,NaN,9\n',
                b"\xef\xbb\xbfa|b\n1e3|-2\n+.5|0x10\n",
                b"1,2,3\n4,5,6\n7,8,9",
            )
        case "tsv":
            return b"a\tb\n1\t2\n3\t4\n5\t\n", b"1\t2\t3\n4\t5\t6\n"
        case _:
            return (clip(reader),)


@cache
def yamls(kind: str) -> tuple[bytes, ...]:
    """Return kernel files, or net files."""
    if kind == "kernel yaml":
        return tuple(path.read_bytes() for path in sorted((ROOT / "kernels").glob("*.yaml")))
    names = ("lenet", "pyramid", "resnet-stem", "sobel-pool", "autoencoder")
    return tuple((ROOT / f"samples/{name}.yaml").read_bytes() for name in names)


av.logging.set_level(None)  # what libav thinks of spoiled files is no news here
