"""OME-TIFF and ImageJ TIFF beside tifffile: planes, places and channels, and metadata that lie."""

import io
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest
import tifffile
from scipy import ndimage
from typer.testing import CliRunner

from convcli.cli.program import build
from convcli.common.errors import UsageError
from convcli.data.axes import Listed
from convcli.data.info import Info
from convcli.media.options import ReadOptions
from convcli.media.pictures import tiff

RANDOM = np.random.default_rng(5)
CELLS = RANDOM.integers(0, 4096, (3, 4, 2, 20, 24)).astype(np.uint16)  # T, Z, C, Y, X
SIZES = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.125, "PhysicalSizeZ": 500, "PhysicalSizeZUnit": "nm"}
ABOUT: dict[str, Any] = SIZES | {
    "axes": "TZCYX",
    "Name": "cells & more",
    "SignificantBits": 12,
    "TimeIncrement": 250,
    "TimeIncrementUnit": "ms",
    "Channel": {"Name": ["DAPI", "GFP"], "EmissionWavelength": [461.0, 509.0]},
    "Plane": {"ExposureTime": [0.5] * 24, "PositionZ": [3.0] * 24, "PositionZUnit": ["µm"] * 24},
}
SCHEMA = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
NAMES = {"XYCZT": "TZCYX", "XYZCT": "TCZYX", "XYZTC": "CTZYX", "XYTCZ": "ZCTYX"}


def written(values: np.ndarray, **settings: Any) -> bytes:
    tifffile.imwrite(file := io.BytesIO(), values, **settings)
    return file.getvalue()


def opened(data: bytes) -> tiff.TiffSource:
    source = tiff.source(io.BytesIO(data), ReadOptions())
    assert isinstance(source, tiff.TiffSource)
    return source


def run(*arguments: object) -> str:
    """Run a filter in this process; return what it says on stderr."""
    done = CliRunner().invoke(build(["filter"]), ["filter", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stderr


def failed(*arguments: object) -> BaseException:
    done = CliRunner().invoke(build(["filter"]), ["filter", *map(str, arguments)])
    assert done.exception is not None
    return done.exception


def ome_of(path: Path) -> tuple[ElementTree.Element, ElementTree.Element, np.ndarray, str]:
    """Return the picture and the pixels of a description, and tifffile's decode."""
    with tifffile.TiffFile(path) as tif:
        root = ElementTree.fromstring(tif.ome_metadata or "")
        image = root.find(f"{SCHEMA}Image")
        assert image is not None
        pixels = image.find(f"{SCHEMA}Pixels")
        assert pixels is not None
        # The schema wants them in this order.
        tags = [one.tag.removeprefix(SCHEMA) for one in pixels]
        assert tags == sorted(tags, key=["Channel", "TiffData", "Plane"].index)
        return image, pixels, tif.series[0].asarray(), tif.series[0].axes


def facts(info: Info) -> dict[str, tuple[float, float, str]]:
    """Return the first place, the spacing and the unit of the axes that have them."""
    found = {}
    for axis in info.axes:
        if axis.positions is not None:
            steps = axis.positions.steps()
            found[axis.letter] = float(axis.positions.at(0)), float(steps[0]), axis.positions.unit
    return found


@pytest.mark.parametrize("settings", [{}, {"compression": "zlib", "tile": (16, 16)}], ids=["plain", "tiles"])
@pytest.mark.parametrize("order", NAMES)
def test_planes_are_where_the_metadata_say(order: str, settings: dict[str, Any]) -> None:
    axes = NAMES[order]
    values = CELLS.transpose(["TZCYX".index(letter) for letter in axes])
    source = opened(written(values, ome=True, metadata=SIZES | {"axes": axes}, **settings))
    assert (source.info.letters, source.info.shape, source.info.volume) == (axes, values.shape, True)
    assert facts(source.info) == {"Z": (0, 500, "nm"), "Y": (0, 0.125, "um"), "X": (0, 0.1, "um")}
    spans = {"T": (1, 3), "Z": (2, 3), "C": (0, 2), "Y": (3, 19), "X": (0, 7)}
    box = [spans[letter] for letter in axes if letter != "C"]
    np.testing.assert_array_equal(source.read(tuple(box)), values[tuple(slice(*spans[one]) for one in axes)])


def test_planes_may_be_stored_in_any_order() -> None:
    """Directory n holds plane 23 - n; tifffile follows TiffData too."""
    planes = CELLS.reshape(24, 20, 24)
    places = list(product(range(3), range(4), range(2)))
    stored = "".join(
        f'<TiffData IFD="{23 - n}" FirstT="{t}" FirstZ="{z}" FirstC="{c}" PlaneCount="1"/>'
        for n, (t, z, c) in enumerate(places)
    )
    data = written(planes, description=described(stored), metadata=None, contiguous=False)
    source = opened(data)
    np.testing.assert_array_equal(source.strip(0, 3), CELLS[::-1, ::-1, ::-1])
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(data)), CELLS[::-1, ::-1, ::-1])


def described(inside: str = "<TiffData/>", **other: object) -> str:
    sizes = {"SizeX": 24, "SizeY": 20, "SizeZ": 4, "SizeC": 2, "SizeT": 3, "DimensionOrder": "XYCZT"} | other
    pixels = " ".join(f'{name}="{value}"' for name, value in sizes.items())
    return (
        f'<?xml version="1.0"?><OME xmlns="{SCHEMA[1:-1]}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        f'Type="uint16" {pixels}>{inside}</Pixels></Image></OME>'
    )


@pytest.mark.parametrize(
    ("options", "cut", "first"),
    [
        (("--pad-mode", "replicate"), np.s_[:, :, :, :, :], (3, 0.025, 0.25)),
        (("--padding", "valid", "--stride", "2"), np.s_[:, :3:2, :, 1:-1:2, :-1:2], (3, 0.125, 0.25)),
    ],
    ids=["same", "strided"],
)
def test_ome_results_lie_where_they_belong(
    tmp_path: Path, options: tuple[str, ...], cut: tuple[slice, ...], first: tuple[float, ...]
) -> None:
    """A window of 2 x 3 x 2 along z, y, x: its middle is half a sample beside its first one along z and x."""
    tifffile.imwrite(tmp_path / "in.ome.tif", CELLS, photometric="minisblack", metadata=ABOUT)
    taps = np.ones((2, 3, 2)) * [[[1.0, 2.0]], [[0.5, 3.0]]]
    np.save(tmp_path / "k.npy", taps)
    out = tmp_path / "out.ome.tif"
    said = run(tmp_path / "in.ome.tif", "-k", tmp_path / "k.npy", *options, "--range", "float", "-o", out)
    assert "k.npy is 3-D on this volume (z,y,x)" in said
    image, pixels, values, axes = ome_of(out)
    step = 2 if "2" in options else 1
    full = ndimage.correlate(
        CELLS.astype(float), taps[None, :, None], mode="nearest", origin=(0, -1, 0, 0, -1)
    )
    np.testing.assert_allclose(values, full[cut], rtol=1e-6)
    assert axes == "TZCYX"
    assert image.get("Name") == "cells & more"
    assert [one.get("Name") for one in pixels.iter(f"{SCHEMA}Channel")] == ["DAPI", "GFP"]
    assert [one.get("EmissionWavelength") for one in pixels.iter(f"{SCHEMA}Channel")] == ["461.0", "509.0"]
    spacing = {"X": 0.1 * step, "Y": 0.125 * step, "Z": 500 * step}
    assert {one: float(pixels.attrib[f"PhysicalSize{one}"]) for one in "XYZ"} == pytest.approx(spacing)
    assert {pixels.attrib[f"PhysicalSize{one}Unit"] for one in "XY"} == {"µm"}
    assert (pixels.get("PhysicalSizeZUnit"), pixels.get("TimeIncrement")) == ("nm", "250.0")
    plane = next(pixels.iter(f"{SCHEMA}Plane"))
    # half a sample of 500 nm beside 3 µm; a valid window of 3 begins one sample in
    assert float(plane.attrib["PositionZ"]) == pytest.approx(3250)
    assert float(plane.attrib["PositionX"]) == pytest.approx(0.05)
    assert float(plane.get("PositionY", 0)) == pytest.approx(0 if step == 1 else 0.125)
    assert plane.get("ExposureTime") == ("0.5" if step == 1 else None)
    assert ("left out of the OME metadata: exposures" in said) == (step == 2)
    with out.open("rb") as fp:
        again = tiff.source(fp, ReadOptions()).info
        assert facts(again)["Z"] == (3250, 500 * step, "nm")
        assert again.letters == axes


@pytest.mark.parametrize("order", ["TZCYX", "TZYX", "CYX", "ZYX", "TYX"])
def test_imagej_results_keep_what_imagej_reads(tmp_path: Path, order: str) -> None:
    values = CELLS[tuple(slice(None) if one in order else 0 for one in "TZCYX")]
    about = {
        "axes": order,
        "unit": "micron",
        "spacing": 0.5,
        "finterval": 2.5,
        "min": 3.0,
        "max": 9.0,
        "mode": "composite",
    }
    if "Z" not in order:
        del about["spacing"]
    given = tmp_path / "in.tif"
    tifffile.imwrite(given, values, imagej=True, resolution=(8, 4), metadata=about)
    run(given, "-k", "box:2x2", "--stride", "2", "--padding", "valid", "-o", tmp_path / "out.tif")
    with tifffile.TiffFile(given) as old, tifffile.TiffFile(tmp_path / "out.tif") as tif:
        before, told = old.imagej_metadata, tif.imagej_metadata
        made, page = tif.asarray(), tif.pages.first
        assert tif.series[0].axes == order
        assert page.tags.valueof(282)[0] / page.tags.valueof(282)[1] == 4
        assert page.tags.valueof(283)[0] / page.tags.valueof(283)[1] == 2
    means = values.reshape(*values.shape[:-2], 10, 2, 12, 2).mean((-3, -1))
    np.testing.assert_array_equal(made, np.rint(means))
    gone = {"min", "max"} | ({"finterval"} if "T" not in order else set())
    assert told == {key: value for key, value in before.items() if key not in gone} | {
        "xorigin": -0.25,
        "yorigin": -0.25,
    }


@pytest.mark.parametrize("text", [b"frames=x", b"images=x", b"frames=-"])
def test_an_imagej_text_whose_sizes_are_no_numbers(text: bytes, tmp_path: Path) -> None:
    values = np.arange(3 * 5 * 7, dtype=np.uint8).reshape(3, 5, 7)
    tifffile.imwrite(tmp_path / "in.tif", values, imagej=True, metadata={"axes": "TYX"})
    data = (tmp_path / "in.tif").read_bytes()
    (tmp_path / "in.tif").write_bytes(data.replace(text[:7] + b"3", text))
    said = run(tmp_path / "in.tif", "-k", "identity", "-o", tmp_path / "out.npy")
    assert "metadata of the TIFF are not used: its sizes are no numbers" in said
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), values)


def test_kernels_in_micrometres(tmp_path: Path) -> None:
    """sigma = 0.5 um is one slice, four rows and five columns."""
    values = CELLS[0, :, 0].astype(np.float32)
    tifffile.imwrite(tmp_path / "in.ome.tif", values, metadata=SIZES | {"axes": "ZYX"})
    out = tmp_path / "out.ome.tif"
    run(tmp_path / "in.ome.tif", "-k", "gaussian:sigma=0.5um", "--pad-mode", "replicate", "-o", out)
    want = ndimage.gaussian_filter(values.astype(float), [1, 4, 5], mode="nearest")
    np.testing.assert_allclose(tifffile.imread(out), want, rtol=1e-5)


def test_what_is_named_so_becomes_ome(tmp_path: Path) -> None:
    """Of an array with channels apart, of a volume with places, of a picture with a resolution."""
    np.save(tmp_path / "a.npy", CELLS[0])
    run(tmp_path / "a.npy", "--axes", "ZCYX", "-k", "identity", "-o", tmp_path / "a.ome.tif")
    _, pixels, values, axes = ome_of(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(values, CELLS[0])
    assert (axes, pixels.get("SizeC")) == ("ZCYX", "2")
    volume = nibabel.Nifti1Image(CELLS[0, :, 0].T.astype(np.float32), np.diag([2, 3, 4, 1]))
    nibabel.save(volume, tmp_path / "a.nii")
    run(tmp_path / "a.nii", "-k", "identity", "-o", tmp_path / "b.ome.tif")
    _, pixels, values, axes = ome_of(tmp_path / "b.ome.tif")
    np.testing.assert_array_equal(values, CELLS[0, :, 0])
    assert [pixels.get(f"PhysicalSize{one}") for one in "XYZ"] == ["2.0", "3.0", "4.0"]
    said = run(tmp_path / "a.nii", "-k", "identity", "-o", tmp_path / "b.tif")
    assert "the positions along z are left out: TIFF holds none (.ome.tif does)" in said
    colours = RANDOM.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "c.tif", colours, resolution=(300, 300), resolutionunit="INCH")
    run(tmp_path / "c.tif", "-k", "identity", "-o", tmp_path / "c.ome.tif")
    _, pixels, values, axes = ome_of(tmp_path / "c.ome.tif")
    np.testing.assert_array_equal(values, colours)
    assert (axes, pixels.get("PhysicalSizeXUnit")) == ("YXS", "in")
    assert float(pixels.attrib["PhysicalSizeX"]) == pytest.approx(1 / 300)
    # Maps are a file each, channels stay channels, and what OME holds none of is refused.
    run(tmp_path / "a.ome.tif", "-k", "box:2x2", "--range", "float", "-o", tmp_path / "a.tif")
    assert ome_of(tmp_path / "a.tif")[3] == "ZCYX"
    np.save(tmp_path / "n.npy", CELLS[0, 0].astype(np.float32))
    with pytest.raises(UsageError, match="OME-TIFF files cannot hold data of the axes n, y, x"):
        raise failed(tmp_path / "n.npy", "--axes", "NYX", "-k", "identity", "-o", tmp_path / "n.ome.tif")


def test_times_of_planes_that_are_not_even(tmp_path: Path) -> None:
    """DeltaT has the frames' times where TimeIncrement is missing; every second frame keeps its own."""
    times = [0.5, 1.0, 2.75, 3.0]
    about = {"axes": "TYX", "Plane": {"DeltaT": times, "DeltaTUnit": ["s"] * 4}}
    values = CELLS.reshape(-1, 20, 24)[:4]
    tifffile.imwrite(tmp_path / "in.ome.tif", values, metadata=about)
    with (tmp_path / "in.ome.tif").open("rb") as fp:
        positions = tiff.source(fp, ReadOptions()).info.axis("T").positions
    assert isinstance(positions, Listed)
    assert [float(positions.at(index) or 0) for index in range(4)] == times
    said = run(
        tmp_path / "in.ome.tif",
        "-k",
        "box:1x1",
        "--stride",
        "1",
        "-o",
        tmp_path / "out.ome.tif",
    )
    _, pixels, _, _ = ome_of(tmp_path / "out.ome.tif")
    assert [float(one.attrib["DeltaT"]) for one in pixels.iter(f"{SCHEMA}Plane")] == times
    assert "TimeIncrement" not in pixels.attrib
    assert said == ""


def test_several_pictures_and_smaller_copies(tmp_path: Path) -> None:
    """The first picture is read at its full size, and its description names no other."""
    with tifffile.TiffWriter(tmp_path / "in.ome.tif") as tif:
        tif.write(CELLS[0, :, 0], metadata={"axes": "ZYX", "Name": "first"}, subifds=1)
        tif.write(CELLS[0, :, 0, ::2, ::2], subfiletype=1)
        tif.write(CELLS[1, :, 0], metadata={"axes": "ZYX"})
    said = run(tmp_path / "in.ome.tif", "-k", "box:1x1", "-o", tmp_path / "out.ome.tif")
    assert "only the first of the 2 pictures of this OME-TIFF is read" in said
    assert "left out of the TIFF: reduced copies or masks (4)" in said
    image, _, values, _ = ome_of(tmp_path / "out.ome.tif")
    np.testing.assert_array_equal(values, CELLS[0, :, 0])
    assert image.get("Name") == "first"
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tif:
        assert len(tif.series) == 1


BOMB = '<!DOCTYPE OME [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
ELSEWHERE = (
    '<TiffData IFD="{}" FirstZ="{}" PlaneCount="1"><UUID FileName="{}.ome.tif">urn:uuid:{}</UUID></TiffData>'
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (described()[:-90], "unclosed token"),
        (described().replace("<OME ", BOMB + "<OME "), "they declare entities"),
        (described(SizeT=10**9), "they tell of 8000000000 planes, the file has 24"),
        (described(SizeT=-3), "they name no axes"),
        (described(SizeT="9" * 5000), "Exceeds the limit"),
        (described(SizeT="three"), "there is no number in 'three'"),
        (described(SizeX=23), "they tell of planes of another size"),
        (described(DimensionOrder="XYZZT"), "they name no axes"),
        (described(DimensionOrder=""), "they name no axes"),
        (described('<TiffData IFD="3" PlaneCount="24"/>'), "they place 24 planes at directory 3 of 24"),
        (described('<TiffData IFD="-1"/>'), "they place 1 planes at directory -1 of 24"),
        (described('<TiffData FirstT="1000000000"/>'), "planes at directory 0 of 24"),
        (described('<TiffData IFD="0"/>' * 2), "they place a plane twice"),
        (described('<TiffData IFD="0" PlaneCount="23"/>'), "they place 23 of 24 planes"),
        (
            described("".join(ELSEWHERE.format(n, n, n, n) for n in range(2))),
            "some of their planes are in other files",
        ),
        (described('<Channel SamplesPerPixel="2"/><TiffData/>'), "they tell of planes of another size"),
        (described('<Channel SamplesPerPixel="0"/>'), "modulo by zero"),
        (f'<OME xmlns="{SCHEMA[1:-1]}"><BinaryOnly/></OME>', "they describe no picture"),
        ("<OME/>", "they describe no picture"),
    ],
    ids=str,
)
def test_metadata_that_do_not_fit_are_said_and_pages_are_one_stack(text: str, why: str) -> None:
    data = written(CELLS.reshape(24, 20, 24), description=text, metadata=None)
    source = opened(data)
    assert (source.info.letters, source.info.shape, source.info.volume) == ("ZYX", (24, 20, 24), False)
    (note,) = source.info.notes
    assert note.startswith("the OME or ImageJ metadata of the TIFF are not used: ")
    assert why in note
    np.testing.assert_array_equal(source.strip(0, 24), CELLS.reshape(24, 20, 24))


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "1e999999999", "a", "9" * 9000])
def test_lengths_that_are_none_are_no_places(size: str) -> None:
    source = opened(
        written(CELLS.reshape(24, 20, 24), description=described(PhysicalSizeX=size), metadata=None)
    )
    assert facts(source.info) == {}
    assert source.info.letters == "TZCYX"
    text = f"ImageJ=1.5\nimages=24\nslices=24\nunit=um\nspacing={size}\nfinterval={size}\nfps={size}\nxorigin={size}\n"
    source = opened(written(CELLS.reshape(24, 20, 24), description=text, metadata=None))
    assert ("Z" in facts(source.info)) == (size == "-1")  # ImageJ writes those too
    assert source.info.letters == "ZYX"


@pytest.mark.parametrize("unit", [{}, {"unit": "pixel"}], ids=str)
def test_sizes_in_pixels_are_kept(unit: dict[str, str], tmp_path: Path) -> None:
    """ImageJ writes the depth of a voxel without a unit where nobody has calibrated the picture."""
    about = {"axes": "ZYX", "spacing": 2.5, **unit}
    tifffile.imwrite(tmp_path / "in.tif", CELLS[0, :, 0], imagej=True, resolution=(8, 4), metadata=about)
    run(tmp_path / "in.tif", "-o", tmp_path / "out.tif", "-k", "box:3", "--stride", "2")
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        assert (tif.imagej_metadata or {})["spacing"] == 5
        assert tif.pages.first.resolution == (4, 2)
    run(tmp_path / "in.tif", "-o", tmp_path / "out.ome.tif", "-k", "box:3")
    _, pixels, _, _ = ome_of(tmp_path / "out.ome.tif")
    assert [pixels.get(f"PhysicalSize{letter}") for letter in "XYZ"] == ["0.125", "0.25", "2.5"]
    assert pixels.get("PhysicalSizeZUnit") == "pixel"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_words_of_imagej_beyond_ascii_are_kept(encoding: str, tmp_path: Path) -> None:
    text, planes = "ImageJ=1.5\nimages=24\nslices=24\nnote=Xüy", CELLS.reshape(24, 20, 24)
    (tmp_path / "a.tif").write_bytes(written(planes, description=text.encode(encoding), metadata=None))
    run(tmp_path / "a.tif", "-k", "1", "-o", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert (tif.imagej_metadata or {})["note"] == "Xüy"
        np.testing.assert_array_equal(tif.asarray(), planes)
