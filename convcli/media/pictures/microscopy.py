"""OME-XML and ImageJ's descriptions: which planes the pages of a TIFF are, where they lie, and their channels' names.

Only this file is read, whatever others the metadata name.  What is not understood, or does not fit the pages, is said,
and the pages are one stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from fractions import Fraction
from itertools import pairwise, product
from math import isfinite, prod
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from convcli.common import UsageError, frozen
from convcli.data import SECOND, UNITS, Even, Info, Listed, Positions

if TYPE_CHECKING:
    import tifffile

_PLANES = "TZC"  # the axes of pages that have names, as ImageJ orders them
_OME = re.compile(r"\s*<.{,4096}?(?<=<)(?:\w+:)?OME[\s/>]", re.DOTALL)
_LONGEST = 1 << 26  # characters of XML that are parsed
_EMPTY = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0"/>'
    "</Image></OME>"
)
_TYPES = dict.fromkeys(("uint8", "int8", "uint16", "int16", "uint32", "int32"), "") | {
    "float32": "float",
    "float64": "double",
}
# Units as files call them, and as axes do; OME has those of the second row too
_NAMES = {
    "micron": "um",
    "microns": "um",
    "µm": "um",
    "μm": "um",
    "\\u00B5m": "um",
    "inch": "in",
    "sec": SECOND,
}
_PIXEL = "pixel"
_NAMES |= {"µs": "us", "μs": "us", "pixels": _PIXEL, "reference frame": ""}
_OME_UNITS = {"um": "µm", "us": "µs"} | {
    unit: unit
    for unit in ("km", "m", "cm", "mm", "nm", "in", "ft", "s", "min", "h", "d", "ms", "ns", "Å", "pm", _PIXEL)
}
_CHANGED = ("Size", "PhysicalSize", "TimeIncrement", "SignificantBits")  # attributes of Pixels
_MOVED = ("The", "Position", "DeltaT")  # attributes of a Plane
_UNUSED = "the OME or ImageJ metadata of the TIFF are not used"
_TICK = Fraction(1, 10**6)  # seconds, to which times of planes are read
_STALE = {
    *("min", "max", "images", "channels", "slices", "frames", "order", "spacing", "finterval", "fps", "unit"),
    *("yunit", "zunit", "xorigin", "yorigin", "zorigin"),
}


@frozen
class Stack:
    """What the pages of a TIFF are.

    Attributes
    ----------
    letters, sizes
        The axes of the pages, slowest first.
    pages
        The directory of each plane, in that order; None where they come so.
    places
        Positions by the letter of their axis.
    text
        The description, where it is understood.
    bits
        That samples have, of 16.
    """

    letters: str = ""
    sizes: tuple[int, ...] = ()
    pages: tuple[int, ...] | None = None
    places: Mapping[str, Positions] = field(default_factory=dict)
    text: str | None = None
    bits: int = 16
    notes: tuple[str, ...] = ()

    def unused(self) -> Stack:
        """Return the same as one stack without names."""
        why = (f"{_UNUSED}: its pages are no such planes",) if self.text is not None else ()
        return Stack(notes=(*self.notes, *why))


def knows(page: Any) -> bool:
    """Say whether a page has a description of these kinds."""
    return page.is_imagej or _OME.match(page.description) is not None


def stack_of(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Stack:
    """Return what the pages are by what the file says; without letters they are one stack."""
    page: Any = tif.pages.first
    lead = series.axes.partition("Y")[0]
    many = "C" in lead and page.shaped[0] * page.shaped[-1] > 1
    named = set(lead) <= set(_PLANES) and len(set(lead)) == len(lead) and not many
    stack = Stack(lead, tuple(map(int, series.shape[: len(lead)]))) if named else Stack()
    try:
        if _OME.match(page.description):
            return _ome(page, len(tif.pages))
        if page.is_imagej and not tif.is_imagej:
            return replace(stack, notes=(f"{_UNUSED}: its sizes are no numbers",))
        if page.is_imagej:
            return replace(stack, places=dict(_imagej(tif)), text=page.imagej_description)
    except (ArithmeticError, LookupError, TypeError, ValueError, ElementTree.ParseError) as error:
        why = str(error)[:100].replace("invalid literal for int() with base 10:", "there is no number in")
        return replace(stack, notes=(f"{_UNUSED}: {why}",))
    return stack


def described(info: Info, pages: str, ome: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return tifffile's settings of a TIFF's description, and notes.

    Parameters
    ----------
    pages : str
        The axes of the pages.
    ome : bool
        Whether it must be OME-XML.

    Raises
    ------
    UsageError
        For a result that OME-XML, where it must be that, does not describe.
    """
    of, old = info.metadata.header or ("", "")
    old = old if of == "tiff" else ""
    xml = _OME.match(old) is not None
    name, make = ("ImageJ", _imagej_settings) if old and not (xml or ome) else ("OME", _ome_settings)
    notes: tuple[str, ...] = ("left out: ImageJ metadata",) if ome and old and not xml else ()
    if old or ome:
        try:
            if strange := set(pages) - set(_PLANES):
                raise ValueError(f"the axis {min(strange).lower()}")
            if info.dtype not in _TYPES:
                raise ValueError(info.dtype)
            settings, lost = make(info, pages, _EMPTY if notes or not old else old)
            return settings, (*notes, *lost)
        except ValueError as error:
            if ome:
                raise UsageError(f"OME-TIFF does not hold {error}: write .tif") from None
            notes += (f"the {name} metadata is left out: it does not describe {error}",)
    for axis in info.axes:
        if axis.positions is not None and axis.letter not in "YX":
            what = (
                "the times of the frames"
                if axis.letter == "T"
                else f"the positions along {axis.letter.lower()}"
            )
            notes += (f"{what} are left out: TIFF holds none (.ome.tif does)",)
    return {}, notes


def _number(text: Any) -> Fraction | None:
    """Return a finite number, exact as it is written; None for what is none."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return Fraction(str(value)) if isfinite(value) else None


def _converted(amount: Fraction | None, unit: str, wanted: str) -> Fraction | None:
    """Return an amount in another unit of the same measure."""
    if amount is None or unit == wanted:
        return amount
    (measure, each), (other, theirs) = (UNITS.get(name, (name, Fraction(1))) for name in (unit, wanted))
    return amount * each / theirs if measure == other else None


def _named(unit: str | None, usual: str) -> str:
    unit = usual if unit is None else unit.strip()
    return _NAMES.get(unit, unit)


def _parsed(text: str) -> ElementTree.Element:
    """Return the tree of a description, whose own tags have lost the name of its schema."""
    if len(text) > _LONGEST:
        raise ValueError(f"they have {len(text)} characters")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("they declare entities")
    root = ElementTree.fromstring(text)
    schema = root.tag.rpartition("}")[0] + "}"
    for element in root.iter():
        element.tag = element.tag.removeprefix(schema)
    root.set("xmlns", schema[1:-1])
    return root


def _ome(page: Any, count: int) -> Stack:
    root = _parsed(page.description)
    images = root.findall("Image")
    pixels = images[0].find("Pixels") if images else None
    if pixels is None:
        raise ValueError("they describe no picture")
    letters = pixels.attrib["DimensionOrder"][:1:-1]
    stated = {letter: int(pixels.attrib[f"Size{letter}"]) for letter in f"{letters}YX"}
    samples = int(next((each.get("SamplesPerPixel", 1) for each in pixels.iter("Channel")), 1))
    sizes = {letter: size // (samples if letter == "C" else 1) for letter, size in stated.items()}
    total = prod(sizes[letter] for letter in letters)
    if sorted(letters) != sorted(_PLANES) or min(stated.values()) < 1 or total < 1:
        raise ValueError("they name no axes")
    if total > count:
        raise ValueError(f"they tell of {total} planes, the file has {count}")
    if (sizes["Y"], sizes["X"], samples) != (page.imagelength, page.imagewidth, page.samplesperpixel):
        raise ValueError("they tell of planes of another size")
    planes = {tuple(int(one.get(f"The{each}", 0)) for each in _PLANES): one for one in pixels.iter("Plane")}
    kept = "".join(letter for letter in letters if sizes[letter] > 1)
    if "C" in kept and samples > 1:
        raise ValueError("their channels have several samples")
    notes = (f"only the first of the {len(images)} pictures of this OME-TIFF is read",) if images[1:] else ()
    bits = int(pixels.get("SignificantBits", 16))
    return Stack(
        kept,
        tuple(sizes[letter] for letter in kept),
        tuple(_directories(root, pixels, letters, [sizes[letter] for letter in letters], count)),
        dict(_ome_places(pixels, planes, sizes["T"])),
        page.description,
        bits if 8 < bits < 16 else 16,
        notes,
    )


def _directories(
    root: ElementTree.Element, pixels: ElementTree.Element, letters: str, sizes: list[int], count: int
) -> list[int]:
    """Return the directory of each plane."""
    total, listed = prod(sizes), pixels.findall("TiffData")
    found: list[int | None] = [None] * total if listed else [*range(total)]
    own = root.get("UUID")
    for data in listed:
        uuid = data.find("UUID")
        own = own or (uuid.text if uuid is not None else None)
        if uuid is not None and uuid.text != own:
            raise ValueError("some of their planes are in other files")
        at = 0
        for letter, size in zip(letters, sizes, strict=True):
            at = at * size + int(data.get(f"First{letter}", 0))
        first = int(data.get("IFD", 0))
        many = int(data.get("PlaneCount", data.get("NumPlanes", 1 if data.get("IFD") else total - at)))
        if not (0 <= at <= at + many <= total and 0 <= first <= first + many <= count):
            raise ValueError(f"they place {many} planes at directory {first} of {count}")
        if any(one is not None for one in found[at : at + many]):
            raise ValueError("they place a plane twice")
        found[at : at + many] = range(first, first + many)
    known = [one for one in found if one is not None]
    if len(known) < total:
        raise ValueError(f"they place {len(known)} of {total} planes")
    return known


def _ome_places(
    pixels: ElementTree.Element, planes: Mapping[tuple[int, ...], ElementTree.Element], frames: int
) -> Iterator[tuple[str, Positions]]:
    """Yield the positions along the axes."""
    for letter in "ZYX":
        spacing, unit = _amount(pixels, f"PhysicalSize{letter}", "µm")
        begins, of = _amount(planes.get((0, 0, 0), pixels), f"Position{letter}", "")
        if spacing is not None and spacing > 0 and unit:
            yield letter, Even(_converted(begins, of, unit) or Fraction(0), spacing, unit)
    spacing, unit = _amount(pixels, "TimeIncrement", SECOND)
    every = [_amount(planes.get((frame, 0, 0), pixels), "DeltaT", SECOND) for frame in range(frames)]
    times = [_converted(*time, SECOND) for time in every]
    if spacing is not None and spacing > 0:
        yield "T", Even(_converted(*every[0], unit) or Fraction(0), spacing, unit)
    elif frames > 1:
        ticks = [round(time / _TICK) for time in times if time is not None]
        if len(ticks) == frames and all(a < b for a, b in pairwise(ticks)):
            yield "T", Listed(tuple(ticks), _TICK, SECOND)


def _amount(element: ElementTree.Element, name: str, usual: str) -> tuple[Fraction | None, str]:
    """Return an amount and its unit."""
    return _number(element.get(name)), _named(element.get(f"{name}Unit"), usual)


def _ome_settings(info: Info, pages: str, old: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the settings of OME-XML: that of the input, with what has changed."""
    root = _parsed(old)
    image = root.findall("Image")[0]
    pixels = image.findall("Pixels")[0]
    about = {"regions of interest": "ROI", "plates": "Plate"}
    lost = [what for what, tag in about.items() if root.find(tag) is not None]
    root[:] = [one for one in root if one is image or one.tag not in ("Image", "ROI", "Plate", "Screen")]
    gone = {"ROIRef": None, "ImageRef": image.get("ID")}
    for parent in [*root.iter()]:  # references to what is gone
        parent[:] = [one for one in parent if one.tag not in gone or one.get("ID") == gone[one.tag]]
    root.attrib.pop("UUID", None)

    sizes = {letter: info.size(letter) for letter in info.letters}
    samples = 1 if "C" in pages else info.channels
    before = _counts(pixels)
    form = {f"Size{letter}": str(sizes.get(letter, 1)) for letter in "XYZCT"}
    form["DimensionOrder"] = f"XY{pages[::-1]}{''.join(letter for letter in 'ZCT' if letter not in pages)}"
    form |= {
        "Type": _TYPES[info.dtype] or info.dtype,
        "Interleaved": str(samples > 1).lower(),
        "BigEndian": "false",
    }
    form |= {"SignificantBits": str(int(info.white).bit_length())} if info.white else {}
    kept = {name: value for name, value in pixels.attrib.items() if not name.startswith(_CHANGED)}
    channels, planes = pixels.findall("Channel"), pixels.findall("Plane") if before == _counts(form) else []
    count = info.channels // samples
    if [one.get("SamplesPerPixel", "1") for one in channels] != [str(samples)] * count:
        lost += ["names of the channels"] * any("Name" in one.attrib for one in channels)
        names = [{"ID": f"Channel:0:{index}", "SamplesPerPixel": str(samples)} for index in range(count)]
        channels = [ElementTree.Element("Channel", name) for name in names]
    if len(pixels.findall("Plane")) > len(planes):
        named = {name for one in pixels.iter("Plane") for name in one.attrib if not name.startswith(_MOVED)}
        lost += ["exposures and other words about planes"] * bool(named)
    moved, nowhere = _moved(info, form)
    every = {tuple(int(one.get(f"The{letter}", 0)) for letter in _PLANES): one for one in planes}
    if moved:
        for place in product(*(range(sizes.get(one, 1) if one in pages else 1) for one in _PLANES)):
            index = {f"The{letter}": str(at) for letter, at in zip(_PLANES, place, strict=True)}
            plane = every.setdefault(place, ElementTree.Element("Plane", index))
            for name, (letter, positions, unit) in moved.items():
                at = positions.at(place[_PLANES.index(letter)] if letter in _PLANES else 0)
                if at is not None:
                    plane.attrib |= {name: repr(float(at)), f"{name}Unit": unit}
    pixels.attrib.clear()
    pixels.attrib |= kept | form
    stored = ElementTree.Element("TiffData", IFD="0", PlaneCount=str(prod(sizes[letter] for letter in pages)))
    pixels[:] = [*channels, stored, *every.values()]
    notes = [f"left out of the OME metadata: {', '.join(lost)}"] * bool(lost)
    return {"description": ElementTree.tostring(root, "us-ascii").decode()}, (*notes, *nowhere)


def _counts(attributes: Mapping[str, str] | ElementTree.Element) -> list[str | None]:
    return [attributes.get(f"Size{letter}") for letter in _PLANES]


def _moved(info: Info, form: dict[str, str]) -> tuple[dict[str, tuple[str, Positions, str]], list[str]]:
    """Note spacings in a form; return what each plane says of its place, and notes."""
    moved, notes = dict[str, tuple[str, Positions, str]](), list[str]()
    for axis in info.axes:
        letter, places = axis.letter, axis.positions
        if places is None:
            continue
        unit, time = _OME_UNITS.get(places.unit, ""), UNITS.get(places.unit, ("",))[0] == "time"
        size, name = f"PhysicalSize{letter}", f"Position{letter}"
        if letter == "T":
            size, name = "TimeIncrement", "DeltaT"
        rises = places.spacing > 0 if isinstance(places, Even) else time
        if not (unit and rises and time == (letter == "T")):
            if info.metadata.geo is None:  # which has tags of its own
                notes.append(f"the positions along {letter.lower()} are left out: OME holds none such")
            continue
        if isinstance(places, Even):
            form |= {size: repr(float(places.spacing)), f"{size}Unit": unit}
        if not isinstance(places, Even) or places.origin:
            moved[name] = letter, places, unit
    return moved, notes


def _imagej(tif: tifffile.TiffFile) -> Iterator[tuple[str, Positions]]:
    """Yield the positions of ImageJ."""
    said: dict[str, Any] = tif.imagej_metadata or {}
    tags, found = tif.pages.first.tags, dict[str, Even]()
    free = _PIXEL if tags.valueof(296, 1) == 1 else ""  # else the resolution is one of paper
    for letter, code in (("X", 282), ("Y", 283), ("Z", 0)):
        unit = _named(str(said.get(f"{letter.lower()}unit", said.get("unit", ""))), "") or free
        density, apart = tags.valueof(code), _number(said.get("spacing")) or Fraction(0)
        each = Fraction(density[1], density[0]) if density else abs(apart)
        each = Fraction(f"{float(each):.6g}")  # of so many digits are RATIONALs
        if unit and each > 0:
            first = -(_number(said.get(f"{letter.lower()}origin")) or 0) * each
            found[letter] = Even(first, each, unit)
    if any(one != Even(Fraction(0), Fraction(1), _PIXEL) for one in found.values()):
        yield from found.items()
    rate, interval = _number(said.get("fps")), _number(said.get("finterval"))
    interval = interval or (1 / rate if rate else None)
    if interval is not None and interval > 0:
        yield "T", Even(Fraction(0), interval, _named(said.get("tunit"), SECOND))


def _imagej_settings(info: Info, pages: str, old: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    from tifffile.tifffile import imagej_description, imagej_description_metadata

    said = {key: value for key, value in imagej_description_metadata(old).items() if key not in _STALE}
    notes, places = list[str](), {axis.letter: axis.positions for axis in info.axes}
    x = places.get("X")
    unit = x.unit if x is not None else next((one.unit for one in places.values() if one), "")
    settings: dict[str, Any] = {}
    spacings = {}
    for letter, positions in places.items():
        wanted = SECOND if letter == "T" else unit
        each = _converted(positions.spacing, positions.unit, wanted) if isinstance(positions, Even) else None
        if positions is not None and (each is None or each <= 0 or (letter == "T" and positions.at(0))):
            notes.append(f"the positions along {letter.lower()} are left out: ImageJ holds none such")
        elif isinstance(positions, Even) and each is not None:
            spacings[letter] = each
            if positions.origin:
                said[f"{letter.lower()}origin"] = float(-positions.origin / positions.spacing)
    if "X" in spacings and "Y" in spacings:
        settings = {"resolution": tuple(float(1 / spacings[letter]) for letter in "XY")}
        settings["resolutionunit"] = "NONE"
        said["unit"] = {"um": "micron"}.get(unit, unit)
    names = {"spacing": "Z", "finterval": "T"}
    said |= {name: float(spacings[letter]) for name, letter in names.items() if letter in spacings}
    axes = f"{pages}YX{'S' * info.letters.endswith('C')}"
    settings["description"] = imagej_description(info.shape, axes, **said).encode()
    return settings, tuple(notes)
