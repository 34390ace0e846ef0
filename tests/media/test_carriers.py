"""Whatever a file carries beside its samples is kept, or named in one line."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from convcli.data.info import Colour, Info, Metadata, Source
from convcli.media import registry
from convcli.media.carriers import LOST
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures import image, png, tiff
from convcli.media.shared import HOLDS
from tests.pictures import chunk

PIXELS = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)


def saved(format: str, **settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, format, **settings)
    return file.getvalue()


def png_with(key: str) -> bytes:
    keywords = {
        "XML:com.adobe.xmp": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"),
        "Software": (b"tEXt", b"Software\0a program"),
    }
    kind, data = keywords.get(key, (key.encode("latin-1"), b"Title\0words"))
    plain = saved("PNG")
    return plain[:33] + chunk(kind, data) + plain[33:]


def jpeg_with(key: str) -> bytes:
    plain = saved("JPEG")
    if key == "behind":
        return plain + b"\0\0\0\x18ftypmp42"
    marker = {"COM": 0xFE, "JFXX": 0xE0, "Photoshop 3.0": 0xED, "JP": 0xEB}.get(key, 0xE2)
    data = (b"" if key == "COM" else key.encode() + b"\0") + b"something"
    if key == "hdrgm":
        marker, data = 0xE1, b"http://ns.adobe.com/xap/1.0/\0<x xmlns:hdrgm='y'/>"
    return plain[:20] + struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data + plain[20:]


def tiff_with(key: str) -> bytes:
    file = io.BytesIO()
    if key in ("OME", "ImageJ"):
        tifffile.imwrite(file, np.stack([PIXELS, PIXELS]), **{key.lower(): True})
    elif key == "270":
        tifffile.imwrite(file, PIXELS, description="a description", metadata=None)
    else:
        tifffile.imwrite(file, PIXELS, metadata=None, extratags=[(32767, "s", 0, "words", True)])
        return file.getvalue().replace(struct.pack("<HH", 32767, 2), struct.pack("<HH", int(key), 2))
    return file.getvalue()


def gif_with(key: str) -> bytes:
    plain = saved("GIF")
    if key == "aspect":
        return plain[:12] + b"\x31" + plain[13:]
    if key == "behind":
        return plain[:-1] + b"GIF"
    label = {"comment": 0xFE, "text": 0x01}.get(key, 0xFF)
    body = key.encode().ljust(11)
    at = plain.index(b"\x2c\0\0\0\0")
    return plain[:at] + bytes([0x21, label, len(body)]) + body + b"\4data\0" + plain[at:]


def bmp_with(key: str) -> bytes:
    plain = saved("BMP")
    if key == "fourth":
        pixels = np.dstack([PIXELS] * 3 + [255 - PIXELS])[::-1]
        return plain[:10] + struct.pack("<IIiiHH", 54, 40, 16, 12, 1, 32) + bytes(24) + pixels.tobytes()
    header = struct.pack("<I", 108) + plain[18:54] + bytes(16) + key.encode() + bytes(48)
    begins = plain[:10] + struct.pack("<I", struct.unpack_from("<I", plain, 10)[0] + 68)
    return begins + header + plain[54:]


def other_with(key: str) -> bytes:
    if key == "xmp":
        return saved("WEBP", xmp=b"<x/>", lossless=True)
    if key in ("sizes", "comment"):
        return saved("ICO", sizes=[(16, 12), (8, 6)]) if key == "sizes" else saved("JPEG2000")
    # a PSD, with a resource or with two empty layers
    resource = b"8BIM" + struct.pack(">HHI", int(key), 0, 4) + b"data" if key.isdecimal() else b""
    layers = struct.pack(">IIH", 74, 70, 2) + 2 * bytes(34) if key == "frames" else bytes(4)
    head = struct.pack(">4sH6xHIIHHII", b"8BPS", 1, 1, 12, 16, 8, 1, 0, len(resource))
    return head + resource + layers + bytes(2) + PIXELS.tobytes()


FORMATS: dict[str, tuple[Callable[[str], bytes], Callable[..., Source]]] = {
    "PNG": (png_with, png.source),
    "JPEG": (jpeg_with, image.source),
    "TIFF": (tiff_with, tiff.source),
    "GIF": (gif_with, image.source),
    "BMP": (bmp_with, image.source),
    "other": (
        other_with,
        lambda fp, options: registry.open_source(fp, registry.sniff(fp.getvalue()), options),
    ),
}


@pytest.mark.parametrize(
    "format", [row for row in registry.FORMATS if "X" in row.axes], ids=lambda row: row.name
)
def test_a_format_keeps_profile_and_exif_or_says_so(format: registry.Format) -> None:
    exif = b"MM\0*\0\0\0\10\0\1\1\17\0\2\0\0\0\4abc\0\0\0\0\0"  # the maker is abc
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    letters = "TYXC" if format.film else "YXC"
    info = Info.of(letters, (2, 12, 16, 3)[-len(letters) :], "uint8", Colour.RGB, Metadata(profile, exif))
    said = registry.left_out(info, format)
    if format.name in HOLDS or format.name == "tiff":
        file = io.BytesIO()
        sink = registry.open_sink(file, format, info, WriteOptions())
        sink.write(info.strip(0, 12), np.zeros((12, 16, 3), np.uint8))
        sink.close()
        said += sink.notes
        kept = registry.open_source(io.BytesIO(file.getvalue()), format, ReadOptions()).info.metadata
        assert (kept.icc is None) == any("profile is left out" in line for line in said)
        assert (kept.exif is None) == any("EXIF data is left out" in line for line in said)
    else:
        assert f"left out: the colour profile, EXIF data ({format.name.upper()} holds none)" in said


@pytest.mark.parametrize(("format", "key"), [(format, key) for format in LOST for key in LOST[format]])
def test_every_known_carrier_is_named(format: str, key: str) -> None:
    with_it, source = FORMATS[format]
    opened = source(io.BytesIO(with_it(key)), ReadOptions())
    pixels = np.atleast_3d(opened.strip(0, opened.info.length))
    pixels = pixels[..., 0] if opened.info.letters[0] == "Y" else pixels[0]
    np.testing.assert_allclose(pixels, PIXELS, rtol=0, atol=9 if format == "JPEG" else 0)
    (line,) = opened.info.notes
    assert line.startswith("left out of the ") and LOST[format][key] in line
    opened.close()


@pytest.mark.parametrize("described", [False, True])
def test_png_stays_srgb(described: bool) -> None:
    plain = (
        saved("PNG", exif=bytes(Image.Exif()) + b"MM\0*\0\0\0\10\0\0\0\0\0\0") if described else saved("PNG")
    )
    opened = png.source(io.BytesIO(plain[:33] + chunk(b"sRGB", b"\2") + plain[33:]), ReadOptions())
    sink = png.sink(file := io.BytesIO(), "png", opened.info, WriteOptions())
    sink.write(opened.info.box, opened.strip(0, 12))
    sink.close()
    with Image.open(io.BytesIO(file.getvalue())) as picture:
        assert picture.info["srgb"] == 2
    assert not (*opened.info.notes, *sink.notes)


def test_a_second_jpeg_behind_the_first_is_said() -> None:
    """As some phones write them, without a directory of them."""
    plain = saved("JPEG")
    assert not image.source(io.BytesIO(plain + bytes(5)), ReadOptions()).info.notes
    opened = image.source(io.BytesIO(plain + plain), ReadOptions())
    assert opened.info.notes == ("left out of the JPEG: data behind the picture",)
