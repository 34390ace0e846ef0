"""What files carry beside their samples: the known carriers of each format, and the line for what no result keeps.

A reader names what it found by the format's own keys (chunks, segments, tags).  What is kept, or only says how the
samples are stored, needs no line.  What a format that is *written* cannot hold is in ``shared`` and ``registry``.
"""

import re
from collections.abc import Iterable


def _carriers(text: str) -> dict[str, str]:
    """Read ``name = key, key; name = key``; keys that are numbers may be ranges, ``1-9``."""
    rows = (row.split("=") for row in text.split(";"))
    return {
        key: name.strip() for name, keys in rows for part in keys.split(",") for key in _keys(part.strip())
    }


def _keys(part: str) -> list[str]:
    first, dash, last = part.partition("-")
    numbers = dash and first.isdecimal() and last.isdecimal()
    return [str(number) for number in range(int(first), int(last) + 1)] if numbers else [part]


# By format: what is lost, by its key.
LOST = {
    "PNG": _carriers(
        "text = tEXt, zTXt, iTXt; XMP = XML:com.adobe.xmp; gamma = gAMA; primaries = cHRM; colour coding = cICP; "
        "HDR metadata = mDCV, mDCv, cLLI, cLLi; significant bits = sBIT; background = bKGD; time = tIME; "
        "suggested palette = sPLT; histogram = hIST; position = oFFs; calibration = pCAL, sCAL; "
        "pixel aspect = aspect; data behind the picture = behind; "
        "stereo layout = sTER; content credentials = caBX; preview = prVW; GIF extensions = gIFg, gIFx, gIFt"
    ),
    "JPEG": _carriers(
        "comment = comment; thumbnail = JFXX; XMP = http://ns.adobe.com/xap/1.0/, http://ns.adobe.com/xmp/extension/; "
        "gain map = hdrgm, urn:iso:std:iso:ts:21496:-1; further pictures = MPF; data behind the picture = behind; "
        "captions (IPTC) = Photoshop 3.0; FlashPix data = FPXR; content credentials = JP; pixel aspect = aspect"
    ),
    "GIF": _carriers(
        "comment = comment; text = text; data behind the picture = behind; pixel aspect = aspect; "
        "XMP = XMP DataXMP; colour profile = ICCRGBG1012"
    ),
    "BMP": _carriers(
        "colour profile = DEBM, KNIL; gamma = \0\0\0\0; a fourth channel = fourth; "
        "data behind the picture = behind"
    ),
    "TIFF": _carriers(
        "georeference = 33550, 33922, 34264, 34735, 34736, 34737, 50844; GDAL metadata = 42112; nodata value = 42113; "
        "statistics of values = STATISTICS; "
        "ImageJ metadata = 50839; slice labels = Labels; display ranges = Ranges; colour tables = LUTs; "
        "regions of interest = ROI, Overlays; ImageJ's texts = Info, Properties; description = 270; XMP = 700; "
        "captions (IPTC) = 33723; Photoshop resources = 34377; layers = 37724; EXIF = 34665; GPS = 34853; "
        "texts = 269, 271, 272, 285, 306, 315, 316, 33432; transfer function = 301; primaries = 318, 319; "
        "reference black and white = 532; grey response = 290; ink names = 333, 336, 337; "
        "sample limits = 280, 340, 341; halftone hints = 321; clipping path = 343; position = 286, 287; "
        "pixel aspect = aspect; data behind the picture = behind; "
        "DNG metadata = 50706-50837, 50840-50843, 50845-51111; "
        "microscope metadata = 33628-33631, 34361, 34362, 34412, 51123, 65420-65458"
    ),
    "WEBP": _carriers("XMP = XMP; data behind the picture = behind; content credentials = C2PA"),
    "JPEG XL": _carriers(
        "colour profile = icc box; colour coding = nclx; further channels = channels; further frames = frames; "
        "XMP = xml; EXIF = exif box; content credentials = jumb; boxes of others = packed"
    ),
    "WAV": _carriers(
        "broadcast extension = bext; cue points = cue, adtl; loops = smpl, inst; iXML = iXML; XMP = _PMX; "
        "ID3 tags = id3, ID3; playlist = plst; production notes = aXML, axml; speakers = chna; "
        "track = IPRT; language = ILNG; encoded_by = ITCH; engineer = IENG; keywords = IKEY; subject = ISBJ; "
        "source = ISRC, ISRF; medium = IMED; time code = ISMP, TCOD, TCDO"
    ),
    "AIFF": _carriers(
        "markers = MARK; instrument = INST; MIDI = MIDI; comments = COMT; application data = APPL; ID3 tags = ID3; "
        "recording = AESD"
    ),
    "DICOM": _carriers(
        "study and device = 0008; patient = 0010; acquisition = 0018; series = 0020; window = window; "
        "overlays = 60; private elements = private"
    ),
    **dict.fromkeys(
        ("NII", "NRRD", "MHA"),
        _carriers(
            "data behind the samples = behind; limits of values = cal_min, cal_max, min, max, oldmin, oldmax, old min, "
            "old max, ElementMin, ElementMax; what statistic the values are = intent_code"
        ),
    ),
    "HDF5": _carriers(
        "limits of valid values = valid_min, valid_max, valid_range, actual_range; coordinates beside the axes = "
        "coordinates; bounds of cells = bounds, climatology; map projection = grid_mapping; meaning of flags = "
        "flag_values, flag_masks, flag_meanings; arrays beside it = ancillary_variables, cell_measures"
    ),
    "other": _carriers(
        "comment = comment; XMP = xmp; captions (IPTC) = iptc; EXIF = exif box; other sizes = sizes; "
        "georeference = geo, asoc; texts = xml, XPMEXT; boxes of others = uuid, jp2i, uinf; thumbnail = thmb; "
        "name = name; pixel aspect = aspect; colour profile = icc box; content credentials = jumb; "
        "depth = depth; video = mpvd; gain map = tmap; HDR metadata = light; "
        "colour coding = nclx, linear; clean aperture = clap; smaller copies = mipmaps; "
        "further channels = channels; hotspot = hotspot; bits of alpha = attributes; "
        "data behind the picture = behind; scale = pfm scale; "
        "Targa's extension (texts, time, preview) = extension; layers or further pictures = frames"
    ),
}
LOST["ZARR"] = LOST["HDF5"]
LOST["PSD"] = LOST["other"] | _carriers(
    "XMP = 1060; captions (IPTC) = 1028; caption = 1008; EXIF = 1058, 1059; texts = 1035, 1054; "
    "thumbnail = 1033, 1036; paths = 1025, 2000-2997; clipping path = 2999; pixel aspect = 1064; layer comps = 1065; "
    "guides = 1032; slices = 1050; copyright mark = 1034; watermark = 1040; names of channels = 1006, 1045; "
    "spot colours = 1043, 1067, 1078; halftones = 1012-1015; transfer functions = 1016-1018; "
    "transparent colour = 1047; samplers and counts = 1038, 1073, 1080; measurement scale = 1074; "
    "timeline = 1075; HDR toning = 1070; duotone = 1066; workflow = 8000; variables = 7000, 7001; "
    "patterns = Patt, Pat2, Pat3; annotations = Anno; smart objects = lnk2, lnk3, lnkD, lnkE"
)
# Programs that name themselves in each comment: that is no loss, because another one writes the result.
_PROGRAM = rb"\W*(?i:lavc|creat(?:ed|or)\b.{0,12}\b(?:by|with|using|for|gimp|gd-jpeg)|file written by|optimized with)"
_SAID = rb"#(?!" + _PROGRAM + rb")[^\n]*\w"  # a comment in a header
# By format: the bytes at the beginning or the end of a file that show a carrier.
_SHOWN = {
    "AVIF": {"light": rb"mdcv|clli", "clap": rb"clap",  # by its items' properties
             "depth": rb"auxC.{4}[^\0]*(?:depth|auxid:2)", "tmap": rb"auxC.{4}[^\0]*gain",
             "aspect": rb"pasp(.{4})(?!\1)", "nclx": rb"colrnclx(?!\0[\1\2]\0[\1\2\6\x0d-\x0f])"},
    "NETPBM": {"comment": rb"\AP\d\s+(?:\d+\s+|#[^\n]*\n\s*)*" + _SAID,
               "pfm scale": rb"\AP[Ff]\s+\d+\s+\d+\s+(?!-?1(?:\.0*)?\s)"},
    "PAM": {"comment": rb"\AP7\s+(?:[A-Z]+\s+\w+\s+|#[^\n]*\n\s*)*" + _SAID},
    "QOI": {"linear": rb"\A.{13}\x01"},
    "SGI": {"name": rb"\A.{24}(?!no name\0)[^\0]"},
    "XPM": {"comment": rb"/\*(?!\s*(?:XPM|columns|width|colors|pixels)|" + _PROGRAM + rb")[^*]*\w",
            "hotspot": rb'\A[^"]*"\s*(?:\d+\s+){5}\d', "XPMEXT": rb"XPMEXT"},
    "DDS": {
        "mipmaps": rb"\A.{28}(?![\0\1]\0{3})",
        "frames": rb"\A.{112}(?:.[^\0]|..[\x20\x21])|\A.{84}DX10.{52}(?![\0\1]\0{3})",  # faces, slices, items
    },
    "CUR": {"hotspot": rb"\A", "sizes": rb"\A.{4}[^\1]"},
    "ICO": {"sizes": rb"\A.{4}[^\1]"},
    "BLP": {"mipmaps": rb"\ABLP(?:2.{20}|1.{28})(?!\0{4})"},
    "FTEX": {"mipmaps": rb"\A.{16}(?![\0\1]\0{3})"},
    # More channels than the mode has: grey and its like, RGB and Lab (a fourth is alpha), CMYK
    "PSD": {"channels": rb"\A.{13}(?:[\2-\xff].{11}[\0\1\2\x08]|[\5-\xff].{11}[\3\4\x09])"},
    "PCD": {"frames": rb"\A"},  # the same in other sizes
    "TGA": {"comment": rb"\A[^\0]", "extension": rb"(?!\0{8}).{8}TRUEVISION-XFILE\.\0\Z",
            "attributes": rb"\A(?:.\x01.{5}\x10.{9}|..[\2\x0a].{13}\x10)[^\0\x10\x20\x30]"},
}  # fmt: skip
# By format: what is kept, or describes the storage; then what a key is called that is in neither.
STORAGE = {
    "PNG": _carriers(
        "= IHDR, PLTE, IDAT, IEND, tRNS, pHYs, iCCP, eXIf, sRGB, acTL, fcTL, fdAT, iDOT, exif, Software"
    ),
    "JPEG": _carriers("= JFIF, Exif, ICC_PROFILE, Adobe, Ducky"),
    "BMP": _carriers("= BGRs, niW"),
    "GIF": _carriers("= NETSCAPE2.0, ANIMEXTS1.0"),
    "TIFF": _carriers(
        "= 254-266, 273-279, 281-284, 288, 289, 291-293, 296, 297, 305, 317, 320, 322-328, 330, 332, 334, 338, 339, "
        "347, 512-521, 529-531, 559, 32995-32998, 34675, 50674, 50838"
    ),
    "WAV": _carriers(
        "= fmt, data, fact, INFO, PEAK, JUNK, PAD, FLLR, ds64, minf, elm1, regn, umid, DGDA, levl, INAM, IART, ICMT, "
        "ICOP, ICRD, IGNR, IPRD, ISFT, ITRK"
    ),
    "AIFF": _carriers("= COMM, SSND, FVER, NAME, AUTH, (c), ANNO, PEAK, FLLR"),
    "JPEG XL": _carriers("= JXL, ftyp, jxlc, jxlp, jxll, jxli, jbrd, Exif, brob"),
    "WEBP": _carriers("= VP8, VP8L, VP8X, ALPH, ANIM, ANMF, ICCP, EXIF"),
    # What Photoshop writes for itself: how it shows, prints and saves the file
    "PSD": _carriers(
        "= 1000-1003, 1005, 1007, 1009-1011, 1019-1024, 1026, 1030, 1037, 1039, 1041, 1042, 1044, 1046, 1049, 1052, "
        "1053, 1055, 1057, 1061, 1062, 1068, 1069, 1071, 1072, 1076, 1077, 1079, 1081-1089, 10000, icc_profile"
    ),
}
_UNKNOWN = {
    "DICOM": "group",
    "JPEG": "segment",
    "GIF": "extension",
    "TIFF": "tag",
    "PSD": "resource",
    "HDF5": "attribute",
}
_NAMED = 3  # of unknown ones


def comment(text: bytes) -> str:
    """Return the key of a comment, an empty one where it only names the program that wrote it, or is blank.

    >>> comment(b"Lavc62.11.100"), comment(b" Created with GIMP"), comment(b"Created in the evening")
    ('', '', 'comment')
    """
    return "comment" if text.strip(b"\0 \r\n\t") and not re.match(_PROGRAM, text) else ""


def is_data(behind: bytes) -> bool:
    """Say whether bytes behind a picture are more than padding, or the end of a text."""
    return bool(behind.strip(b"\0\r\n };"))


def shown(format: str, ends: bytes) -> list[str]:
    """Return the keys of what is in a file beside its picture, by its first and last bytes."""
    ends = ends[: 1 << 16] + ends[-26:] if len(ends) > 1 << 16 else ends
    return [key for key, mark in _SHOWN.get(format, {}).items() if re.search(mark, ends, re.DOTALL)]


def left_out(format: str, found: Iterable[str], more: Iterable[str] = ()) -> tuple[str, ...]:
    """Return one line that names what of a file is lost, after what more there is; none where nothing is.

    >>> left_out("PNG", ["PLTE", "tEXt", "zTXt", "gAMA", "joKe"])
    ('left out of the PNG: text, gamma, chunk joKe',)
    """
    lost, storage = LOST.get(format, LOST["other"]), STORAGE.get(format, {})
    keys = [key for key in dict.fromkeys(found) if key and key not in storage]
    names = dict.fromkeys((*more, *(lost[key] for key in keys if key in lost)))
    unknown = [key for key in keys if key not in lost]
    if unknown:
        rest = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        names[f"{_UNKNOWN.get(format, 'chunk')} {', '.join(unknown[:_NAMED])}{rest}"] = None
    return (f"left out of the {format}: {', '.join(names)}",) if names else ()
