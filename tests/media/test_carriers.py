"""Whatever a file carries beside its samples is kept, or named in one line."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from convcli.data.info import Source
from convcli.media import registry
from convcli.media.carriers import LOST
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures import image, png, tiff
from convcli.media.shared import dpi_of
from tests.fuzz.seeds import by_hand
from tests.pictures import chunk

PIXELS = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)


def saved(format: str, **settings: object) -> bytes:
    file = io.BytesIO()
    pixels = np.dstack([PIXELS] * 3) if format == "QOI" else PIXELS
    Image.fromarray(pixels).save(file, format, **settings)
    return file.getvalue()


def png_with(key: str) -> bytes:
    keywords = {
        "XML:com.adobe.xmp": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"),
        "aspect": (b"pHYs", struct.pack(">IIB", 2, 1, 0)),
    }
    kind, data = keywords.get(key, (key.encode("latin-1"), b"Title\0words"))
    plain = saved("PNG")
    if key == "behind":
        return plain + b"more"
    return plain[:33] + chunk(kind, data) + plain[33:]


def jpeg_with(key: str) -> bytes:
    plain = saved("JPEG")
    if key == "behind":
        return plain + b"\0\0\0\x18ftypmp42"
    if key == "aspect":
        return plain[:13] + struct.pack(">BHH", 0, 2, 1) + plain[18:]
    marker = {"comment": 0xFE, "JFXX": 0xE0, "Photoshop 3.0": 0xED, "JP": 0xEB}.get(key, 0xE2)
    data = (b"" if key == "comment" else key.encode() + b"\0") + b"something"
    if key == "hdrgm":
        marker, data = 0xE1, b"http://ns.adobe.com/xap/1.0/\0<x xmlns:hdrgm='y'/>"
    return plain[:20] + struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data + plain[20:]


IMAGEJ: dict[str, Any] = {
    "Labels": ["first"],
    "Ranges": (0.0, 200.0),
    "LUTs": [np.zeros((3, 256), np.uint8)],
    "ROI": b"Iout",
    "Overlays": [b"Iout"],
    "Info": "of the stage",
    "Properties": {"key": "value"},
}


def tiff_with(key: str) -> bytes:
    file = io.BytesIO()
    if key in ("OME", "ImageJ"):
        tifffile.imwrite(file, np.stack([PIXELS, PIXELS]), **{key.lower(): True})
    elif key in IMAGEJ:
        tifffile.imwrite(file, PIXELS, imagej=True, metadata={key: IMAGEJ[key]})
    elif key == "behind":
        return saved("TIFF") + b"more"
    elif key == "aspect":
        tifffile.imwrite(file, PIXELS, metadata=None, resolution=(2, 1), resolutionunit="NONE")
    elif key == "STATISTICS":
        about = '<GDALMetadata><Item name="STATISTICS_MEAN" sample="0">5</Item></GDALMetadata>'
        tifffile.imwrite(file, PIXELS, metadata=None, extratags=[(42112, 2, 0, about, True)])
    elif key == "270":
        tifffile.imwrite(file, PIXELS, description="a description", metadata=None)
    else:
        tifffile.imwrite(file, PIXELS, metadata=None, extratags=[(32767, "s", 0, "words", True)])
        return file.getvalue().replace(struct.pack("<HH", 32767, 2), struct.pack("<HH", int(key), 2))
    return file.getvalue()


def tiff_made(**settings: Any) -> bytes:
    tifffile.imwrite(file := io.BytesIO(), np.stack([PIXELS, PIXELS[::-1]]), **settings)
    return file.getvalue()


def tiff_of_two_sizes() -> bytes:
    with tifffile.TiffWriter(file := io.BytesIO()) as tif:
        tif.write(PIXELS, subifds=1, metadata=None)
        tif.write(PIXELS[::2, ::2], subfiletype=1, metadata=None)
    return file.getvalue()


def tiff_with_exif() -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    return coloured("TIFF", exif=exif.tobytes())


def gif_with(key: str) -> bytes:
    plain = saved("GIF")
    if key == "aspect":
        return plain[:12] + b"\x71" + plain[13:]
    if key == "behind":
        return plain[:-1] + b"GIF"
    label = {"comment": 0xFE, "text": 0x01}.get(key, 0xFF)
    body = key.encode().ljust(11)
    at = plain.index(b"\x2c\0\0\0\0")
    return plain[:at] + bytes([0x21, label, len(body)]) + body + b"\4data\0" + plain[at:]


def bmp_with(key: str) -> bytes:
    plain = saved("BMP")
    if key == "behind":
        return plain + b"more"
    if key == "fourth":
        pixels = np.dstack([PIXELS] * 3 + [255 - PIXELS])[::-1]
        return plain[:10] + struct.pack("<IIiiHH", 54, 40, 16, 12, 1, 32) + bytes(24) + pixels.tobytes()
    header = struct.pack("<I", 108) + plain[18:54] + bytes(16) + key.encode() + bytes(48)
    begins = plain[:10] + struct.pack("<I", struct.unpack_from("<I", plain, 10)[0] + 68)
    return begins + header + plain[54:]


def webp_with(key: str) -> bytes:
    plain = saved("WEBP", lossless=True)
    if key == "behind":
        return plain + b"more"
    image = saved("WEBP", lossless=True, xmp=b"<x/>")  # with the chunk of sizes that others need
    data = image[:-12] + key.encode().ljust(4) + struct.pack("<I", 4) + b"data"
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(data), kind) + data


def jp2_with(data: bytes) -> bytes:
    plain = saved("JPEG2000")
    at = plain.index(b"jp2c") - 4
    return plain[:at] + data + plain[at:]


def jp2_with_profile() -> bytes:
    plain, colour = bytearray(saved("JPEG2000")), box(b"colr", b"\2\0\0profile")
    at = plain.index(b"jp2h") - 4
    end = at + int.from_bytes(plain[at : at + 4])
    plain[at : at + 4] = struct.pack(">I", end - at + len(colour))
    return bytes(plain[:end] + colour + plain[end:])


def avif_with(data: bytes, *path: bytes) -> bytes:
    """With more at the end of the last of nested boxes; the one picture moves."""
    plain = bytearray(saved("AVIF", quality=100))
    places = [plain.index(kind) - 4 for kind in path]
    end = places[-1] + int.from_bytes(plain[places[-1] :][:4])
    for place in *places, plain.index(b"iloc") + 18:
        plain[place : place + 4] = struct.pack(">I", int.from_bytes(plain[place : place + 4]) + len(data))
    if path[-1] == b"iinf":
        plain[plain.index(b"iinf") + 9] += 1
    return bytes(plain[:end] + data + plain[end:])


def property_with(kind: bytes, data: bytes) -> bytes:
    return avif_with(box(kind, data), b"meta", b"iprp", b"ipco")


def item_with(kind: bytes) -> bytes:
    return avif_with(box(b"infe", struct.pack(">IHH4sx", 2 << 24, 2, 0, kind)), b"meta", b"iinf")


def dds_with(smaller: int = 1, faces: int = 0, depth: int = 0, extra: bytes = b"") -> bytes:
    head = struct.pack("<4s7I44x", b"DDS ", 124, 0x100F, 12, 16, 16, depth, smaller)
    head += struct.pack("<2I4s5I", 32, 0x20000, b"\0\0\0\0", 8, 255, 0, 0, 0)
    return head + struct.pack("<5I", 0x1000, faces, 0, 0, 0) + PIXELS.tobytes() + extra


def tga_with(key: str) -> bytes:
    if key == "attributes":  # 5 bits a colour, and one of alpha
        grey = PIXELS >> 3
        pixels = (grey.astype("<u2") * 0x421 | 0x8000)[::-1]
        return struct.pack("<3B5xHHHHBB", 0, 0, 2, 0, 0, 16, 12, 16, 1) + pixels.tobytes()
    plain = saved("TGA")[:-26]
    if key == "comment":
        return b"\5" + plain[1:18] + b"words" + plain[18:]
    return (
        plain
        + struct.pack("<H", 495)
        + bytes(493)
        + struct.pack("<II", len(plain), 0)
        + b"TRUEVISION-XFILE.\0"
    )


def cursor() -> bytes:
    """An icon of 32 bits, of which the alpha says nothing and the mask hides the first row."""
    pixels = np.dstack([PIXELS] * 3 + [np.zeros_like(PIXELS)])[::-1]
    mask = np.zeros((12, 4), np.uint8)
    mask[-1] = 255
    image = (
        struct.pack("<IiiHHIIiiII", 40, 16, 24, 1, 32, 0, 0, 0, 0, 0, 0) + pixels.tobytes() + mask.tobytes()
    )
    return struct.pack("<HHHBBBBHHII", 0, 2, 1, 16, 12, 0, 0, 3, 4, len(image), 22) + image


def psd_with(key: str) -> bytes:
    """With a resource, with two empty layers, or with a block of its own behind none."""
    if key and not key.isdecimal() and key not in ("frames", "channels"):
        blocks = struct.pack(">II", 0, 0) + b"8BIM" + key.encode() + struct.pack(">I", 4) + b"data"
        return psd_with("")[:34] + struct.pack(">I", len(blocks)) + blocks + psd_with("")[38:]
    data = 2 * b"sliceID."  # or anything else
    resource = b"8BIM" + struct.pack(">HHI", int(key), 0, 16) + data if key.isdecimal() else b""
    layers = struct.pack(">IIH", 74, 70, 2) + 2 * bytes(34) if key == "frames" else bytes(4)
    head = struct.pack(">4sH6xHIIHHII", b"8BPS", 1, 1 + (key == "channels"), 12, 16, 8, 1, 0, len(resource))
    return head + resource + layers + bytes(2) + PIXELS.tobytes() * (1 + (key == "channels"))


def xpm(comment: str, *extensions: str) -> bytes:
    colours = [f"{grey:02x} c #{grey:02x}{grey:02x}{grey:02x}" for grey in range(192)]
    rows = ["".join(f"{grey:02x}" for grey in row) for row in PIXELS]
    lines = ",\n".join(f'"{line}"' for line in ("16 12 192 2", *colours, *rows, *extensions))
    return f"/* XPM */\nstatic char *a[] = {{\n/* columns rows colors */{comment}\n{lines}\n}};\n".encode()


def other_with(key: str) -> bytes:
    made: dict[str, Callable[[], bytes]] = {
        "xmp": lambda: jp2_with(box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + b"<x/>")),
        "iptc": lambda: jp2_with(box(b"uuid", bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"))),
        "exif box": lambda: jp2_with(box(b"uuid", b"JpgTiffExif->JP2II*\0")),
        "geo": lambda: jp2_with(box(b"uuid", bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03") + b"II*\0")),
        "uuid": lambda: jp2_with(box(b"uuid", bytes(16))),
        "xml": lambda: jp2_with(box(b"xml ", b"<x/>")),
        "sizes": lambda: saved("ICO", sizes=[(16, 12), (8, 6)]),
        "comment": lambda: b"P5\n16 12\n# a meadow\n255\n" + PIXELS.tobytes(),
        "asoc": lambda: jp2_with(box(b"asoc", box(b"lbl ", b"gml.data"))),
        **{
            kind: partial(lambda kind: jp2_with(box(kind.encode(), b"data")), kind)
            for kind in ("jp2i", "uinf", "jumb")
        },
        "mpvd": lambda: saved("AVIF", quality=100) + box(b"mpvd", b"ftyp"),
        "thmb": lambda: avif_with(
            box(b"iref", bytes(4) + box(b"thmb", struct.pack(">HHH", 2, 1, 1))), b"meta"
        ),
        "depth": lambda: property_with(b"auxC", b"\0\0\0\0urn:mpeg:mpegB:cicp:systems:auxiliary:depth\0"),
        "tmap": lambda: item_with(b"tmap"),
        "light": lambda: property_with(b"mdcv", bytes(24)),
        "nclx": lambda: property_with(b"colr", b"nclx\0\x09\0\x10\0\x09\0"),
        "mipmaps": lambda: dds_with(smaller=5),
        "hotspot": cursor,
        "attributes": lambda: tga_with("attributes"),
        "aspect": lambda: property_with(b"pasp", struct.pack(">II", 2, 1)),
        "clap": lambda: property_with(b"clap", bytes(32)),
        "icc box": jp2_with_profile,
        "linear": lambda: saved("QOI", colorspace="linear"),
        "behind": lambda: saved("QOI", colorspace="sRGB") + b"more",
        "name": lambda: saved("SGI")[:24] + b"a meadow".ljust(80, b"\0") + saved("SGI")[104:],
        "pfm scale": lambda: b"Pf\n16 12\n-2.5\n" + PIXELS[::-1].astype("<f4").tobytes(),
        "XPMEXT": lambda: xpm("", "XPMEXT a meadow", "XPMENDEXT"),
        "extension": lambda: tga_with("extension"),
    }
    return made.get(key, lambda: psd_with(key))()


def jxl_with(key: str) -> bytes:
    inside = {
        "exif box": box(b"brob", b"Exif"),
        "packed": box(b"brob", b"abcd"),
        "xml": box(b"xml ", b"<x/>"),
    }
    pixels = {
        "channels": np.stack([PIXELS, 255 - PIXELS]),
        "frames": np.stack([np.dstack([PIXELS] * 3)] * 2),
        "nclx": PIXELS.astype(np.uint16),  # linear, says the encoder
    }
    planar = {"planar": True} if key == "channels" else {}
    plain = imagecodecs.jpegxl_encode(pixels.get(key, PIXELS), lossless=True, usecontainer=True, **planar)
    return bytes(plain) + (b"" if key in pixels else inside.get(key, box(key.encode(), b"data")))


def found(data: bytes) -> registry.Format:
    return registry.identify(data[: registry.HEAD], "a.tga")[0]


def opened_of(data: bytes, options: ReadOptions = ReadOptions()) -> Source:  # noqa: B008
    return registry.open_source(io.BytesIO(data), found(data), options)


FORMATS: dict[str, tuple[Callable[[str], bytes], Callable[..., Source]]] = {
    "PNG": (png_with, png.source),
    "JPEG": (jpeg_with, image.source),
    "TIFF": (tiff_with, tiff.source),
    "GIF": (gif_with, image.source),
    "BMP": (bmp_with, image.source),
    "WEBP": (webp_with, image.source),
    "other": (other_with, opened_as_found := lambda fp, options: opened_of(fp.getvalue(), options)),
    "PSD": (psd_with, opened_as_found),
    "JPEG XL": (jxl_with, opened_as_found),
}


EACH = [(format, key) for format in FORMATS for key in LOST[format]
        if (format != "PSD" or key not in LOST["other"]) and (format, key) != ("JPEG XL", "icc box")]  # fmt: skip
EXAMPLES = {
    name: next(key for _, key in EACH if LOST["TIFF"].get(key) == name)
    for name in sorted(set(LOST["TIFF"].values()))
}
ONCE = [(format, key) for format, key in EACH if format != "TIFF" or "metadata" not in LOST[format][key]]
ONCE += [("TIFF", key) for name, key in EXAMPLES.items() if "metadata" in name]
ONCE = [(format, key) for format, key in ONCE if not key.isdecimal() or not 2000 < int(key) < 2997]


@pytest.mark.parametrize(("format", "key"), ONCE)
def test_every_known_carrier_is_named(format: str, key: str) -> None:
    """Of ranges of tags and resources, the first."""
    with_it, source = FORMATS[format]
    opened = source(io.BytesIO(with_it(key)), ReadOptions())
    pixels = np.atleast_3d(opened.strip(0, opened.info.length))
    pixels = pixels[..., 0] if opened.info.letters[0] == "Y" else pixels[0]
    near = 9 if format == "JPEG" or key in ("tmap", "light", "nclx", "attributes", "aspect", "clap") else 0
    np.testing.assert_allclose(pixels, PIXELS, rtol=0, atol=near)
    (line,) = opened.info.notes
    assert line.startswith("left out of the ") and LOST[format][key] in line
    opened.close()


@pytest.mark.parametrize("data", [
    *(saved(name) for name in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "AVIF", "ICO", "TGA",
                               "PPM", "PCX", "SGI", "DDS", "DIB")),
    saved("QOI", colorspace="sRGB") + bytes(3), saved("JPEG", progressive=True), property_with(b"pasp", bytes(8)),
    saved("SGI")[:24] + b"no name\0" + saved("SGI")[32:], xpm("/* pixels */"),
    b"Pf\n16 12\n-1.0\n" + PIXELS.astype("<f4").tobytes(),
    png_with("behind")[:-4] + bytes(3),
    saved("PNG")[:33] + b"".join(chunk(kind, data) for kind, data in {
        b"tEXt": b"Software\0a program", b"gAMA": struct.pack(">I", 45455), b"sBIT": b"\x08",
        b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000), b"cICP": b"\1\x0d\0\1",
        b"pHYs": struct.pack(">IIB", 1, 1, 0)}.items()) + saved("PNG")[33:],
    *(saved("JPEG")[:20] + b"\xff\xfe" + struct.pack(">H", 2 + len(words)) + words + saved("JPEG")[20:]
      for words in (b"Lavc62.11.100\0", b"CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90\n")),
    saved("GIF", comment=b"Created with GIMP"),
    saved("TIFF") + saved("TIFF")[-4:],  # as GDAL ends tiles
    saved("GIF")[:12] + b"\x31" + saved("GIF")[13:],
    saved("JPEG2000", comment="Created by OpenJPEG version 2.5.4"),
    psd_with("1064").replace(b"\0\x10" + 2 * b"sliceID.", b"\0\x10" + struct.pack(">Id4x", 1, 1)),
    imagecodecs.jpegxl_encode(PIXELS, lossless=True),
    dds_with(), bmp_with("BGRs"), b"P5\n# CREATOR: GIMP PNM Filter Version 1.1\n16 12\n255\n" + PIXELS.tobytes(),
], ids=lambda data: data[:8].hex())  # fmt: skip
def test_files_without_carriers_give_no_note(data: bytes) -> None:
    """What a program writes into every file, its own name included, says nothing that is lost."""
    opened = registry.open_source(io.BytesIO(data), found(data), ReadOptions())
    assert opened.info.notes == ()
    opened.close()


@pytest.mark.parametrize(("name", "data", "said"), [
    ("JPEG", saved("JPEG", progressive=True).replace(b"\xff\xda", b"\xff\xfe\0\x0aa meadow\xff\xda"), "comment"),
    ("JPEG", saved("JPEG")[:-2] + b"\xff\xed\0\x10Photoshop 3.0\0\xff\xd9", "captions (IPTC)"),
    ("PPM", b"P5\n# CREATOR: GIMP\n16 12 # a meadow\n255\n" + PIXELS.tobytes(), "comment"),
    ("PAM", b"P7\n# CREATOR: GIMP\nWIDTH 16\n# a meadow\nHEIGHT 12\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\n"
            b"ENDHDR\n" + PIXELS.tobytes(), "comment"),
    ("PAM", b"P7\nWIDTH 16\nHEIGHT 12\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\nENDHDR\n" + PIXELS.tobytes() + b"P7",
     "layers or further pictures"),
    ("XPM", xpm("/* a meadow */"), "comment"),
    ("XPM", xpm("").replace(b"192 2", b"192 2 1 1"), "hotspot"),
], ids=lambda value: str(value)[:12])  # fmt: skip
def test_carriers_in_places_of_their_own(name: str, data: bytes, said: str) -> None:
    """Between scans, behind a picture, after the comment of a program."""
    opened = registry.open_source(io.BytesIO(data), found(data), ReadOptions())
    assert opened.info.notes == (f"left out of the {name}: {said}",)
    opened.close()


def test_tifffiles_own_words_are_no_loss_and_the_users_are() -> None:
    for words, said in ({}, ()), ({"axes": "YX"}, ()), ({"fs": 10}, ("left out of the TIFF: description",)):
        tifffile.imwrite(file := io.BytesIO(), PIXELS, metadata=words)
        assert tiff.source(io.BytesIO(file.getvalue()), ReadOptions()).info.notes == said


def test_primaries_of_srgb_in_a_tiff_are_no_loss() -> None:
    for red, said in ((640, ()), (708, ("left out of the TIFF: primaries",))):  # BT.2020
        coordinates = [(318, (3127, 3290)), (319, (10 * red, 3300, 3000, 6000, 1500, 600))]
        tags = [
            (code, "2I", len(values), tuple(part for value in values for part in (value, 10_000)), True)
            for code, values in coordinates
        ]
        tifffile.imwrite(file := io.BytesIO(), PIXELS, metadata=None, extratags=tags)
        assert tiff.source(io.BytesIO(file.getvalue()), ReadOptions()).info.notes == said


def test_of_many_unknown_tags_the_first_are_named() -> None:
    tags = [(number, "H", 1, 7, True) for number in (2000, *range(60_001, 60_020))]
    tifffile.imwrite(file := io.BytesIO(), PIXELS, metadata=None, extratags=tags)
    notes = tiff.source(io.BytesIO(file.getvalue()), ReadOptions()).info.notes
    assert notes == ("left out of the TIFF: tag 2000, 60001, 60002 and 17 more",)


@pytest.mark.parametrize(
    ("faces", "depth", "several"),
    [(0xFE00, 0, True), (0x200000, 3, True), (0, 0, False)],
)
def test_faces_and_slices_of_a_dds_are_said(faces: int, depth: int, several: bool) -> None:
    data = dds_with(faces=faces, depth=depth, extra=bytes(5 * PIXELS.size))
    notes = registry.open_source(io.BytesIO(data), found(data), ReadOptions()).info.notes
    assert notes == (("left out of the DDS: layers or further pictures",) if several else ())


def test_an_icon_without_alpha_has_that_of_its_mask() -> None:
    """As Windows has it; the alpha of such old icons is zero everywhere."""
    for data in cursor(), cursor()[:2] + b"\1" + cursor()[3:]:
        opened = opened_of(data)
        expected = np.dstack([PIXELS] * 3 + [np.full_like(PIXELS, 255)])
        expected[0, :, 3] = 0
        np.testing.assert_array_equal(opened.strip(0, 12), expected)


def test_the_resolution_of_a_psd() -> None:
    fixed = b"8BIM" + struct.pack(">HHIIHHIHH", 1005, 0, 16, 300 << 16, 1, 1, 150 << 16, 1, 1)
    head = struct.pack(">4sH6xHIIHHII", b"8BPS", 1, 1, 12, 16, 8, 1, 0, len(fixed))
    data = head + fixed + bytes(4) + bytes(2) + PIXELS.tobytes()
    opened = registry.open_source(io.BytesIO(data), found(data), ReadOptions())
    assert dpi_of(opened.info) == (300, 150)


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


def icon(*sizes: tuple[int, int], **settings: object) -> bytes:
    return saved("ICO", sizes=sizes, **settings)


COLOURS = Image.fromarray(np.dstack([PIXELS, PIXELS[::-1], 255 - PIXELS]))


def coloured(format: str, mode: str = "RGB", **settings: object) -> bytes:
    COLOURS.convert(mode).save(file := io.BytesIO(), format, **settings)
    return file.getvalue()


RECORD = bytes(8) + b"TRUEVISION-XFILE.\0"  # the last bytes of a Targa


def blp_of_two_sizes() -> bytes:
    """With a smaller copy behind the picture, as games have it."""
    data, copy = coloured("BLP", "P"), bytes(48)
    tables = struct.pack("<32I", len(data) - 192, len(data), *[0] * 14, 192, len(copy), *[0] * 14)
    return data[:20] + tables + data[148:] + copy


def sgi_in_runs() -> bytes:
    rows = [b"\x90" + row.tobytes() + b"\0" for row in PIXELS[::-1]]
    starts = [512 + 12 * 8 + 18 * n for n in range(12)]
    head = struct.pack(">hBBHHHHII", 474, 1, 1, 2, 16, 12, 1, 0, 255).ljust(512, b"\0")
    return head + struct.pack(">24I", *starts, *[18] * 12) + b"".join(rows)


@pytest.mark.parametrize(("kind", "data"), [
    *((format, coloured(format)) for format in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "DDS", "PCX", "TGA",
                                                "AVIF", "JPEG2000", "PPM", "QOI", "SGI", "DIB")),
    *((format, coloured(format, "P")) for format in ("PCX", "TGA", "BLP", "BMP")),
    *((format, coloured(format, "L")) for format in ("PCX", "TGA", "SGI", "PPM")),
    *((format, coloured(format, "1")) for format in ("PCX", "MSP", "XBM", "PPM")),
    ("PFM", b"Pf\n16 12\n-1.0\n" + PIXELS.astype("<f4").tobytes()),
    ("PAM", b"P7\nWIDTH 16\nHEIGHT 12\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\nENDHDR\n" + PIXELS.tobytes()),
    ("PPM", b"P5\n16 12\n65535\n" + PIXELS.astype(">u2").tobytes()), ("SGI", sgi_in_runs()),
    *(("PPM", head + b"\n# of 7\n".join(b"%d" % value for value in PIXELS.ravel())) for head in (
        b"P2\n16 12\n255\n", b"P3\n8 8\n255\n")),
    ("TGA", coloured("TGA", compression="tga_rle")), ("J2K", coloured("JPEG2000", no_jp2=True)),
    ("DDS", coloured("DDS", "RGBA", pixel_format="DXT1")), ("PSD", psd_with("")), ("CUR", cursor()),
    ("ICO", icon((16, 12))), ("ICO", icon((16, 12), bitmap_format="bmp")),
    ("SUN", struct.pack(">8I", 0x59A66A95, 16, 12, 8, 192, 1, 0, 0) + PIXELS.tobytes()),
    ("GBR", struct.pack(">5I4sI4s", 32, 2, 16, 12, 1, b"GIMP", 10, b"\0\0\0\0") + PIXELS.tobytes()),
    *(("TIFF", coloured("TIFF", compression=packed)) for packed in ("tiff_lzw", "jpeg", "packbits")),
    *(("TIFF", tiff_made(**settings)) for settings in (
        {"tile": (16, 16)}, {"bigtiff": True}, {"photometric": "minisblack"}, {"metadata": None})),
    ("TIFF", tiff_of_two_sizes()), ("TIFF", tiff_with_exif()),
    ("DDS", dds_with(smaller=3, extra=PIXELS[::2, ::2].tobytes() + PIXELS[::4, ::4].tobytes())),
    ("DDS", dds_with(faces=0x200000, depth=2, extra=PIXELS.tobytes())), ("DDS", coloured("DDS", pixel_format="BC5")),
    *(("PSD", psd_with(key)) for key in ("frames", "channels", "Patt")), ("TGA", tga_with("attributes")),
    ("TGA", struct.pack("<3B5xHHHHBB", 0, 0, 10, 0, 0, 16, 12, 16, 0) + b"\x8f12" * 6 + (b"\x0f" + b"ab" * 16) * 6),
    ("TGA", struct.pack("<3B5xHHHHBB", 0, 0, 2, 0, 0, 16, 12, 16, 0) + PIXELS.tobytes() * 2 + RECORD),
    *(("FTEX", struct.pack("<4s8I", b"FTEX", 1, 16, 12, n, 1, 1, 32, 576) + bytes(range(192)) * 3
       + (struct.pack("<I", 144) + bytes(144)) * (n - 1)) for n in (1, 2)),
    *(("FLI", data) for data in by_hand("fli")), ("BLP", blp_of_two_sizes()),
], ids=lambda value: value if isinstance(value, str) else str(len(value)))  # fmt: skip
def test_data_behind_a_picture_is_said(kind: str, data: bytes) -> None:
    """A ZIP, one byte, a picture, a clip: none changes the picture; padding is none."""
    plain = opened_of(data)
    pixels = plain.strip(0, plain.info.length)
    for tail in (
        b"PK\3\4" + bytes(range(60)),
        b"x",
        saved("JPEG"),
        b"\0\0\0\x18ftypmp42" + bytes(40),
        bytes(700),
    ):
        opened = opened_of(data + tail)
        np.testing.assert_array_equal(opened.strip(0, opened.info.length), pixels)
        said = "data behind the picture" in "".join(opened.info.notes)
        assert said is any(tail), (kind, tail[:8])
        opened.close()
    plain.close()


def test_a_second_jpeg_behind_the_first_is_said() -> None:
    """As some phones write them, without a directory of them."""
    plain = saved("JPEG")
    assert not image.source(io.BytesIO(plain + bytes(5)), ReadOptions()).info.notes
    opened = image.source(io.BytesIO(plain + plain), ReadOptions())
    assert opened.info.notes == ("left out of the JPEG: data behind the picture",)
