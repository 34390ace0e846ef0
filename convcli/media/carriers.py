"""What files carry beside their samples: the known carriers of each format, and the line for what no result keeps.

A reader names what it found by the format's own keys (chunks, segments, tags).  What is kept, or only says how the
samples are stored, needs no line.  What a format that is *written* cannot hold is in ``shared`` and ``registry``.
"""

from __future__ import annotations

from collections.abc import Iterable


def _carriers(text: str) -> dict[str, str]:
    """Read ``name = key, key; name = key``."""
    rows = (row.split("=") for row in text.split(";"))
    return {key.strip(): name.strip() for name, keys in rows for key in keys.split(",")}


# By format: what is lost, by its key.
LOST = {
    "PNG": _carriers(
        "text = tEXt, zTXt, iTXt; XMP = XML:com.adobe.xmp; gamma = gAMA; primaries = cHRM; colour coding = cICP; "
        "HDR metadata = mDCV, mDCv, cLLI, cLLi; significant bits = sBIT; background = bKGD; time = tIME; "
        "suggested palette = sPLT; histogram = hIST; position = oFFs; calibration = pCAL, sCAL; "
        "writing program = Software; "
        "stereo layout = sTER; content credentials = caBX; preview = prVW; GIF extensions = gIFg, gIFx, gIFt"
    ),
    "JPEG": _carriers(
        "comment = COM; thumbnail = JFXX; XMP = http://ns.adobe.com/xap/1.0/, http://ns.adobe.com/xmp/extension/; "
        "gain map = hdrgm, urn:iso:std:iso:ts:21496:-1; further pictures = MPF; data behind the picture = behind; "
        "captions (IPTC) = Photoshop 3.0; FlashPix data = FPXR; content credentials = JP"
    ),
    "GIF": _carriers(
        "comment = comment; text = text; data behind the picture = behind; pixel aspect = aspect; "
        "XMP = XMP DataXMP; colour profile = ICCRGBG1012"
    ),
    "BMP": _carriers("colour profile = DEBM, KNIL; gamma = \0\0\0\0; a fourth channel = fourth"),
    "TIFF": _carriers(
        "georeference = 33550, 33922, 34264, 34735, 34736, 34737; GDAL metadata = 42112; nodata value = 42113; "
        "OME metadata = OME; ImageJ metadata = ImageJ, 50838, 50839; description = 270; XMP = 700; "
        "captions (IPTC) = 33723; Photoshop resources = 34377; layers = 37724; EXIF = 34665; GPS = 34853; "
        "texts = 269, 271, 272, 285, 306, 315, 316, 33432; transfer function = 301; primaries = 318, 319; "
        "reference black and white = 532; grey response = 290; ink names = 333, 336, 337; "
        "sample limits = 280, 340, 341; halftone hints = 321; clipping path = 343; position = 286, 287; "
        "DNG metadata = 50706; microscope metadata = 33628, 33629, 33630, 33631, 34361, 34362, 34412, 51123"
    ),
    "other": _carriers(
        "comment = comment; XMP = xmp, 1060; captions (IPTC) = 1028; EXIF = 1058; other sizes = sizes; "
        "layers or further pictures = frames"
    ),
}
# By format: what is kept, or describes the storage; then what a key is called that is in neither.
STORAGE = {
    "PNG": "IHDR, PLTE, IDAT, IEND, tRNS, pHYs, iCCP, eXIf, sRGB, acTL, fcTL, fdAT, iDOT, exif",
    "JPEG": "JFIF, Exif, ICC_PROFILE, Adobe, Ducky",
    "BMP": "BGRs, niW",
    "GIF": "NETSCAPE2.0, ANIMEXTS1.0",
    "TIFF": "281, 32995, 32996, 32997, 32998, 34675, 50674",
}
_UNKNOWN = {"PNG": "chunk", "JPEG": "segment", "GIF": "extension", "TIFF": "tag"}


def left_out(format: str, found: Iterable[str], more: Iterable[str] = ()) -> tuple[str, ...]:
    """Return one line that names what of a file is lost, after what more there is; none where nothing is.

    >>> left_out("PNG", ["PLTE", "tEXt", "zTXt", "gAMA", "joKe"])
    ('left out of the PNG: text, gamma, chunk joKe',)
    """
    lost, storage = LOST.get(format, LOST["other"]), STORAGE.get(format, "").split(", ")
    known = (lost.get(key) or f"{_UNKNOWN[format]} {key}" for key in found if key not in storage)
    names = dict.fromkeys((*more, *known))
    return (f"left out of the {format}: {', '.join(names)}",) if names else ()
