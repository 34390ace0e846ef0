"""What Pillow makes of a file, and what scipy's box filter makes of that: nothing of convcli is used here."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps, ImageSequence
from scipy import ndimage

DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_EXPANDED = {"1": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}


@dataclass(frozen=True)
class Seen:
    """A picture as Pillow opens it: its first frame, upright.

    Attributes
    ----------
    pixels
        (Y, X) or (Y, X, C); ``None`` for colours without a box filter here (CIELAB).
    alpha
        Whether the last channel is alpha.
    bits
        Of a channel, as stored in the file.
    """

    kind: str
    mode: str
    size: tuple[int, int]
    frames: int
    pixels: np.ndarray | None
    alpha: bool
    bits: int


def decoders() -> list[str]:
    """Return Pillow's decoders but EPS, which hands the file to another program."""
    Image.init()
    return [name for name in Image.OPEN if name != "EPS"]


def look(path: Path) -> Seen | None:
    """Open a picture; ``None`` where Pillow cannot."""
    with suppress(Exception), Image.open(path, formats=decoders()) as image:
        image.load()
        kind, frames = image.format or "", 1
        with suppress(Exception):
            frames = getattr(image, "n_frames", 1)
            image.seek(0)
        bits = _bits(path, image)
        upright = ImageOps.exif_transpose(image)
        pixels, alpha = array_of(upright)
        return Seen(kind, image.mode, upright.size, frames, pixels, alpha, bits)
    return None


def array_of(image: Image.Image) -> tuple[np.ndarray | None, bool]:
    """Return the samples of an image, palettes expanded, and whether the last channel is alpha."""
    if image.mode in DEEP:
        return np.asarray(image).astype(np.float64), False
    mode = _EXPANDED.get(image.mode, image.mode)
    if image.mode == "P":
        mode = "RGBA" if image.has_transparency_data else "RGB"
    elif "transparency" in image.info and mode in ("L", "RGB"):
        mode += "A"
    if mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return None, False
    return np.asarray(image.convert(mode)).astype(np.float64), mode in ("LA", "RGBA")


def _bits(path: Path, image: Image.Image) -> int:
    """Return the depth that the file's header states, where formats have several."""
    head = path.read_bytes()[:64]
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return max(8, head[24])
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (1,))  # type: ignore[attr-defined]
        return max(8, *(bits if isinstance(bits, tuple) else (bits,)), 8)
    if image.format == "SGI":  # Pillow reads 16 bits as 8
        return 8 * head[3]
    if image.format == "PPM" and image.mode == "I":
        return 16
    return {"I": 32, "F": 32}.get(image.mode, 16 if image.mode in DEEP else 8)


def frames_of(path: Path, kind: str) -> list[np.ndarray] | None:
    """Return all frames or pages (Y, X, 4) of 0 to 255 by a reader that convcli has not; ``None`` where there is none.

    FFmpeg for GIF and PNG, libwebp's own compositor for WebP, libtiff for pages of one size; the last two by Pillow,
    which also decodes the first two itself where FFmpeg fails or leaves out frames.
    """
    if kind in ("GIF", "PNG"):
        with suppress(Exception), av.open(str(path), metadata_errors="ignore") as container:
            found = [frame.to_ndarray(format="rgba64le") / 257.0 for frame in container.decode(video=0)]
            if len(found) > 1:
                return found
    try:
        with Image.open(path) as image:
            hidden = kind == "PNG" and image.default_image  # type: ignore[attr-defined]
            pictures = [frame.copy() for frame in ImageSequence.Iterator(image)][hidden:]
    except Image.DecompressionBombError:  # frames far beyond the canvas
        return None
    if len({picture.size for picture in pictures}) > 1 or any(picture.mode in DEEP for picture in pictures):
        return None
    return [np.asarray(picture.convert("RGBA")).astype(np.float64) for picture in pictures]


def boxed(pixels: np.ndarray, alpha: bool) -> np.ndarray:
    """Return the mean of 3x3 pixels, edges repeated, colours weighted by alpha."""

    def mean(plane: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(plane, (3, 3, *[0] * (plane.ndim - 2)), mode="nearest")

    if not alpha:
        return mean(pixels)
    weight = mean(pixels[..., -1:])
    colours = np.divide(
        mean(pixels[..., :-1] * pixels[..., -1:]),
        weight,
        out=np.zeros(pixels[..., :-1].shape),
        where=weight > 1e-9,
    )
    return np.concatenate([colours, weight], axis=-1)


def written(path: Path) -> tuple[np.ndarray | None, bool, int, tuple[int, int]]:
    """Return what an output holds, by readers that had no part in writing it: samples, alpha, bits, size.

    Pillow opens it; where it keeps 8 of 16 bits, and for what of TIFF it cannot, libpng and tifffile do.
    """
    head = path.read_bytes()[:32]
    if path.suffix == ".npy":
        array = np.load(path)
        return None, False, 8 * array.dtype.itemsize, array.shape[1::-1]
    if head[:4] == b"\x89PNG" and head[24] == 16:
        import imagecodecs

        pixels = imagecodecs.png_decode(path.read_bytes())
        with Image.open(path) as image:
            image.load()
        return pixels.astype(np.float64), pixels.ndim == 3 and pixels.shape[2] in (2, 4), 16, image.size
    try:
        with Image.open(path, formats=decoders()) as image:
            image.load()
            bits = _bits(path, image)
            if bits > 8 and image.mode not in DEEP:
                raise ValueError("Pillow keeps 8 bits of these")
            pixels, alpha = array_of(image)
            return pixels, alpha, bits, image.size
    except (OSError, ValueError):
        import tifffile

        with tifffile.TiffFile(path) as tif:
            page = tif.pages[0]
            stored = page.asarray()
            alpha = bool(page.extrasamples)
            return (
                stored.astype(np.float64),
                alpha,
                8 * page.dtype.itemsize,
                (page.imagewidth, page.imagelength),
            )
