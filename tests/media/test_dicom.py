"""DICOM beside pydicom: values, places, series, and what is refused."""

from __future__ import annotations

import io
import struct
import sys
import time
import zlib
from pathlib import Path

import imagecodecs
import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_rescale, convert_color_space, pixel_array
from pydicom.sequence import Sequence
from scipy import ndimage
from typer.testing import CliRunner

from convcli.cli.program import build
from convcli.common.errors import ConvError
from convcli.media import registry
from convcli.media.options import ReadOptions
from tests.media.test_volumes import run
from tests.shell import convcli, refuses

RANDOM = np.random.default_rng(13)
CT = RANDOM.integers(0, 4096, (9, 12, 15)).astype(np.uint16)  # z, y, x
WAYS = [0.8, 0.6, 0, 0, 0, -1.0]  # of rows and of columns
NORMAL = np.cross(WAYS[:3], WAYS[3:])
FIRST = np.array([-100.0, 20, 300])
STEP, APART = 2.5, [0.7, 0.4]  # between slices; between rows and columns


def dataset(
    pixels: np.ndarray, syntax: str = uid.ExplicitVRLittleEndian, bits: int = 0, **tags: object
) -> Dataset:
    """Return a file of one frame, YX or YXC, or of many."""
    coloured = pixels.shape[-1] == 3
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID, made.SOPInstanceUID = uid.CTImageStorage, uid.generate_uid()
    made.SeriesInstanceUID, made.PatientName, made.SeriesDescription = "1.2.77", "Doe^Jane", "AX T1"
    made.SamplesPerPixel = 3 if coloured else 1
    made.PhotometricInterpretation = "RGB" if coloured else "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape[-3:-1] if coloured else pixels.shape[-2:]
    if pixels.ndim - coloured == 3:
        made.NumberOfFrames = len(pixels)
    if coloured:
        made.PlanarConfiguration = 0
    made.BitsAllocated = 8 * pixels.itemsize
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(pixels.dtype.kind == "i")
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    made.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    made.PixelData += b"\0" * (len(made.PixelData) % 2)
    made["PixelData"].VR = "OB" if pixels.itemsize == 1 and syntax != uid.ImplicitVRLittleEndian else "OW"
    for name, value in tags.items():
        if value is None:
            delattr(made, name)
        else:
            setattr(made, name, value)
    return made


def save(path: Path, made: Dataset) -> Path:
    made.save_as(path, enforce_file_format=True)
    return path


def read(path: Path) -> tuple[registry.Source, np.ndarray]:
    data = path.read_bytes()
    format, _ = registry.identify(data[:4096], path)
    source = registry.open_source(io.BytesIO(data), format, ReadOptions())
    return source, source.read(source.info.box)


def series(folder: Path, values: np.ndarray = CT, **tags: object) -> list[Path]:
    """Write the slices of a scan under names and numbers in no order."""
    folder.mkdir(exist_ok=True)
    names = RANDOM.permutation(len(values))
    return [
        save(
            folder / f"{names[i]}.dcm",
            dataset(
                plane,
                bits=12,
                ImagePositionPatient=[*(FIRST + NORMAL * STEP * i)],
                ImageOrientationPatient=WAYS,
                PixelSpacing=APART,
                SliceThickness=5,
                InstanceNumber=int(names[-i]) + 1,
                **{"RescaleSlope": 1, "RescaleIntercept": -1024} | tags,
            ),
        )
        for i, plane in enumerate(values)
    ]


def affine() -> np.ndarray:
    """Return the matrix that the tags say, in RAS: PS3.3, C.7.6.2.1.1, and x and y the other way."""
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = np.array(WAYS[:3]) * APART[1], np.array(WAYS[3:]) * APART[0]
    lps[:3, 2], lps[:3, 3] = NORMAL * STEP, FIRST
    return np.diag([-1, -1, 1, 1]) @ lps


NATIVE = {
    "12 of 16": {"pixels": CT[0], "bits": 12, "RescaleSlope": 1, "RescaleIntercept": -1024},
    "signed": {"pixels": CT[0].astype(np.int16) - 2000, "RescaleSlope": 2, "RescaleIntercept": 0.5},
    "8": {"pixels": CT[0].astype(np.uint8)},
    "32": {"pixels": CT[0].astype(np.uint32) * 100_000},
    "implicit": {"pixels": CT[0], "syntax": uid.ImplicitVRLittleEndian},
    "big": {"pixels": CT[0], "syntax": uid.ExplicitVRBigEndian, "bits": 12},
    "colours": {"pixels": CT[:, :, :3].astype(np.uint8)},
    "planar": {"pixels": CT[:3].astype(np.uint8), "SamplesPerPixel": 3, "PlanarConfiguration": 1,
                   "PhotometricInterpretation": "RGB", "NumberOfFrames": None},
    "deep colours": {"pixels": CT[:, :, :3], "bits": 12},
    "YBR": {"pixels": CT[:, :, :3].astype(np.uint8), "PhotometricInterpretation": "YBR_FULL"},
    "frames": {"pixels": CT, "FrameTime": 40},
    "light is small": {"pixels": CT[0], "PhotometricInterpretation": "MONOCHROME1"},
}  # fmt: skip


@pytest.mark.parametrize("name", NATIVE)
def test_values_are_those_of_pydicom(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "a.dcm", dataset(**NATIVE[name]))  # type: ignore[arg-type]
    stated = pydicom.dcmread(path)
    want = apply_rescale(pixel_array(path), stated)
    source, found = read(path)
    np.testing.assert_array_equal(found, want)
    if name == "YBR":
        want = convert_color_space(pixel_array(path, raw=True), "YBR_FULL", "RGB")
    whole = float(stated.get("RescaleIntercept", 0)).is_integer()
    assert (
        found.dtype
        == source.info.dtype
        == ("float64" if not whole else "int16" if name == "12 of 16" else want.dtype.name)
    )
    box = tuple((n // 3, n - n // 4) for n in found.shape[: len(source.info.box_letters)])
    np.testing.assert_array_equal(source.read(box), want[tuple(slice(*span) for span in box)])
    if name == "frames":
        assert source.info.axis("T").facts["spacing"] == 0.04
    assert source.info.white == (4095 if name in ("big", "deep colours") else None)


def coded(pixels: np.ndarray, syntax: str, *frames: bytes, **tags: object) -> Dataset:
    made = dataset(pixels, **tags)  # type: ignore[arg-type]
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate(list(frames))
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    return made


def test_compressed_frames(tmp_path: Path) -> None:
    """Lossless ones as they were; lossy ones as Pillow decodes them."""
    signed, colours = CT[0].astype(np.int16) - 2048, CT[:, :, :3].astype(np.uint8)
    codecs = [
        (uid.JPEGLosslessSV1, lambda x: imagecodecs.ljpeg_encode(x, bitspersample=12), CT[0], 12),
        (
            uid.JPEGLosslessSV1,
            lambda x: imagecodecs.jpeg8_encode(x, lossless=True, bitspersample=12),
            CT[0],
            12,
        ),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode, CT[0], 12),
        (uid.JPEGLSLossless, lambda x: imagecodecs.jpegls_encode(x.view(np.uint16) & 4095), signed, 12),
        (uid.JPEG2000Lossless, lambda x: imagecodecs.jpeg2k_encode(x, level=0, codecformat="j2k"), CT[0], 16),
        (
            uid.JPEG2000Lossless,
            lambda x: imagecodecs.jpeg2k_encode(x, level=0, codecformat="j2k"),
            signed,
            16,
        ),
        (
            uid.JPEG2000Lossless,
            lambda x: imagecodecs.jpeg2k_encode(x, level=0, codecformat="j2k"),
            colours,
            8,
        ),
    ]
    for syntax, encode, pixels, bits in codecs:
        look = {"PhotometricInterpretation": "YBR_RCT"} if pixels.ndim == 3 else {}
        stacked = np.stack([pixels, pixels[::-1].copy()])
        path = save(tmp_path / "a.dcm", coded(stacked, syntax, *map(encode, stacked), bits=bits, **look))
        source, found = read(path)
        np.testing.assert_array_equal(found, stacked, err_msg=str(syntax))
    for pixels in (CT[0], colours, signed):
        made = dataset(pixels)
        made.compress(uid.RLELossless)
        np.testing.assert_array_equal(read(save(tmp_path / "a.dcm", made))[1], pixels)
    smooth = ndimage.gaussian_filter(colours.astype(float), (2, 2, 0)).astype(np.uint8)
    for look, settings in (("YBR_FULL_422", {"subsampling": 2}), ("RGB", {"keep_rgb": True})):
        Image.fromarray(smooth).save(file := io.BytesIO(), "JPEG", **settings)
        made = coded(smooth, uid.JPEGBaseline8Bit, file.getvalue(), PhotometricInterpretation=look)
        source, found = read(save(tmp_path / "a.dcm", made))
        want = np.asarray(Image.open(file)).astype(int)
        assert np.abs(found.astype(int) - want).max() <= 2


def test_frames_at_one_place_are_moments(tmp_path: Path) -> None:
    tags = {"ImagePositionPatient": [*FIRST], "ImageOrientationPatient": WAYS, "PixelSpacing": APART}
    source, found = read(save(tmp_path / "a.dcm", dataset(CT, **tags)))
    assert source.info.letters == "TYX"
    np.testing.assert_array_equal(found, CT)


def test_a_stream_without_an_end_is_refused_soon(tmp_path: Path) -> None:
    """CharLS alone takes four seconds for 266 pixels."""
    pixels = ((np.sin(np.arange(19) / 3) + np.cos(np.arange(14)[:, None] / 2) + 2) * 60).astype(np.uint8)
    stream = imagecodecs.jpegls_encode(pixels)[:167]
    path = save(tmp_path / "a.dcm", coded(pixels, uid.JPEGLSLossless, stream))
    start = time.process_time()
    with pytest.raises(ConvError, match="truncated volume"):
        read(path)
    assert time.process_time() - start < 2


def test_palettes(tmp_path: Path) -> None:
    made = dataset(CT[0].astype(np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for colour, table in zip(("Red", "Green", "Blue"), RANDOM.integers(0, 65536, (3, 256)), strict=True):
        setattr(made, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(made, f"{colour}PaletteColorLookupTableData", table.astype("<u2").tobytes())
    path = save(tmp_path / "a.dcm", made)
    source, found = read(path)
    assert source.info.letters == "YXC"
    np.testing.assert_array_equal(found, apply_color_lut(pixel_array(path), pydicom.dcmread(path)))


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_padding_is_missing(tmp_path: Path, syntax: str) -> None:
    """Means of what is there; what is padding stays missing."""
    pixels = CT[0].astype(np.int16)
    pixels[:, :4] = -2000
    tags = {"PixelPaddingValue": -2000, "RescaleSlope": 1, "RescaleIntercept": -1024}
    path = save(tmp_path / "a.dcm", dataset(pixels, syntax, **tags))
    run(path, "-k", "box:3", "--pad-mode", "replicate", "-o", tmp_path / "o.npy")
    there = (pixels != -2000).astype(float)
    sums = ndimage.uniform_filter(np.where(there, pixels - 1024.0, 0), 3, mode="nearest")
    with np.errstate(invalid="ignore"):
        want = np.where(there, sums / ndimage.uniform_filter(there, 3, mode="nearest"), np.nan)
    np.testing.assert_allclose(np.load(tmp_path / "o.npy"), want, rtol=1e-6)


@pytest.mark.parametrize("form", ["folder", "pattern"])
def test_series_lie_where_their_tags_say(tmp_path: Path, form: str) -> None:
    """By position, not by name or number; millimetres are those between slices, not their thickness."""
    series(tmp_path / "ct")
    (tmp_path / "ct" / "notes.txt").write_text("not an image")
    if form == "pattern":  # behind many other files
        for number in range(120):
            (tmp_path / "ct" / f"-{number}.txt").write_text("not an image")
    given = tmp_path / "ct" / ("*.dcm" if form == "pattern" else "")
    said = run(given, "-k", "gaussian:sigma=2mm", "--pad-mode", "replicate", "-o", tmp_path / "o.nii.gz")
    made = nibabel.load(tmp_path / "o.nii.gz")
    np.testing.assert_allclose(made.affine, affine(), atol=1e-4)
    want = ndimage.gaussian_filter(CT - 1024.0, [2 / STEP, 2 / APART[0], 2 / APART[1]], mode="nearest")
    np.testing.assert_allclose(made.get_fdata(), want.transpose(), rtol=1e-5, atol=1e-3)
    assert "left out of the DICOM: " in said
    assert "patient" in said
    assert ("1 file beside the DICOM" in said) == (form == "folder")
    assert b"Doe" not in (tmp_path / "o.nii.gz").read_bytes()
    run(given, "-k", "box:1", "--stride", "2", "-o", tmp_path / "o.nrrd")
    values, header = nrrd.read(str(tmp_path / "o.nrrd"))
    np.testing.assert_array_equal(values, CT.transpose()[::2, ::2, ::2] - 1024.0)
    lps = np.diag([-1, -1, 1, 1]) @ affine()
    np.testing.assert_allclose(header["space directions"].T, 2 * lps[:3, :3], atol=1e-9)
    np.testing.assert_allclose(header["space origin"], FIRST)


@pytest.mark.parametrize("suffix", ["tif", "ome.tif", "h5", "npy"])
def test_formats_without_an_affine_say_so(tmp_path: Path, suffix: str) -> None:
    series(tmp_path / "ct")
    assert "the affine is left out" in run(tmp_path / "ct", "-k", "box:3", "-o", tmp_path / f"o.{suffix}")


def test_series_over_time(tmp_path: Path) -> None:
    values = np.stack([CT, CT[:, ::-1]])
    for moment, each in enumerate(values, 1):
        series(tmp_path / f"{moment}", each, TemporalPositionIdentifier=moment)
        for path in sorted((tmp_path / f"{moment}").iterdir()):
            (tmp_path / "all").mkdir(exist_ok=True)
            path.rename(tmp_path / "all" / f"{3 - moment}{path.name}")
    run(tmp_path / "all", "-k", "1", "-o", tmp_path / "o.nii")
    np.testing.assert_array_equal(nibabel.load(tmp_path / "o.nii").get_fdata(), values.transpose() - 1024.0)


def test_frames_of_one_file_by_their_groups(tmp_path: Path) -> None:
    """Each has its own position and slope, and they come in another order."""
    order = RANDOM.permutation(len(CT))
    made = dataset(CT[order], bits=12)
    shared, frames = Dataset(), []
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = (
        Sequence([Dataset()]),
        Sequence([Dataset()]),
    )
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = WAYS
    shared.PixelMeasuresSequence[0].PixelSpacing = APART
    for z in order:
        frame = Dataset()
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = (
            Sequence([Dataset()]),
            Sequence([Dataset()]),
        )
        frame.PlanePositionSequence[0].ImagePositionPatient = [*(FIRST + NORMAL * STEP * int(z))]
        value = frame.PixelValueTransformationSequence[0]
        value.RescaleSlope, value.RescaleIntercept = float(z) / 2 + 1, int(z)
        frames.append(frame)
    made.SharedFunctionalGroupsSequence, made.PerFrameFunctionalGroupsSequence = (
        Sequence([shared]),
        Sequence(frames),
    )
    run(save(tmp_path / "a.dcm", made), "-k", "1", "-o", tmp_path / "o.nii")
    found = nibabel.load(tmp_path / "o.nii")
    z = np.arange(len(CT))[:, None, None]
    np.testing.assert_allclose(found.get_fdata(), (CT * (z / 2 + 1) + z).transpose(), rtol=1e-6)
    np.testing.assert_allclose(found.affine, affine(), atol=1e-4)


def test_a_single_slice_lies_in_space_too(tmp_path: Path) -> None:
    path = next(path for path in series(tmp_path / "ct")[:1])
    run(path, "-k", "box:3", "-o", tmp_path / "o.nii")
    want = affine()
    want[:3, 2] *= 5 / STEP  # its thickness
    np.testing.assert_allclose(nibabel.load(tmp_path / "o.nii").affine, want, atol=1e-4)


def spoiled(how: str, folder: Path) -> str:
    """Write a series that is none; return words of the error."""
    paths = series(folder)
    if how == "missing":
        paths[4].unlink()
        return "a slice is missing between"
    made = pydicom.dcmread(paths[4])
    words = ""
    if how == "uneven":
        made.ImagePositionPatient, words = (
            [*(FIRST + NORMAL * (4 * STEP + 1))],
            "not evenly spaced: from 1.5 to 3.5 mm",
        )
    elif how == "two series":
        made.SeriesInstanceUID, made.SeriesDescription = "1.2.88", "COR\nT2"
        words = "2 series: 'AX T1' (8 files) ...1.2.77, 'COR\\nT2' (1 file) ...1.2.88"
    elif how == "sizes":
        made = dataset(
            CT[0, :-1],
            **{name: made[name].value for name in ("ImagePositionPatient", "ImageOrientationPatient")},
        )
        words = "images of several kinds"
    elif how == "doubled":
        save(folder / "again.dcm", made)
        words = "two slices at one place"
    elif how == "directions":
        made.ImageOrientationPatient, words = [1, 0, 0, 0, 1, 0], "one direction"
    elif how == "pixels":
        made.PixelSpacing = [APART[0] * 1.1, APART[1]]
        words = f"{APART[1]:g} x {APART[0] * 1.1:.6g} mm"
    elif how == "nowhere":
        del made.ImagePositionPatient
        words = "do not tell where they lie"
    elif how == "damaged":
        paths[4].write_bytes(paths[4].read_bytes()[:-7])
        return "cut short: 7 bytes"
    save(paths[4], made)
    return words


SPOILED = [
    "missing",
    "uneven",
    "two series",
    "sizes",
    "doubled",
    "directions",
    "pixels",
    "nowhere",
    "damaged",
]


@pytest.mark.parametrize("how", SPOILED)
def test_series_that_are_none_are_refused_in_one_line(tmp_path: Path, how: str) -> None:
    words = spoiled(how, tmp_path / "ct")
    refuses(words, "'ct", "filter", "ct", "-k", "box:3", "-o", "out.nii", cwd=tmp_path)
    assert not (tmp_path / "out.nii").exists()
    if how == "two series":
        done = convcli("filter", "ct::.77", "-k", "box:3", "-o", "out.nii", cwd=tmp_path)
        assert b"a slice is missing" in done.stderr
        done = convcli("filter", "ct::1.2.88", "-k", "1", "-o", "out.nii", "-q", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(
            nibabel.load(tmp_path / "out.nii").get_fdata().squeeze(), CT[4].T - 1024.0
        )


def whole(made: Dataset) -> bytes:
    made.save_as(file := io.BytesIO(), enforce_file_format=True)
    return file.getvalue()


def nested(depth: int) -> bytes:
    """Return a header of sequences in sequences, each of undefined length."""
    made = whole(dataset(CT[0]))
    at = made.index(b"\x08\x00\x16\x00UI")
    item = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return made[:at] + item * depth


def deflated() -> bytes:
    made = dataset(CT[0], syntax=uid.DeflatedExplicitVRLittleEndian)
    data = whole(made)
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    return data[: data.index(b"1.2.840.10008.1.2.1.99") + 22] + pack.compress(bytes(1 << 28)) + pack.flush()


def lying(tag: bytes, value: int) -> bytes:
    data = bytearray(whole(dataset(CT[0])))
    at = data.index(tag + b"US") + 8
    data[at : at + 2] = struct.pack("<H", value)
    return bytes(data)


BIG = np.zeros((9, 5000), np.uint8)
J2K = imagecodecs.jpeg2k_encode(np.zeros((900, 900), np.uint8), level=0, codecformat="j2k")
RLE = struct.pack("<16I", 2, 64, 66, *[0] * 13) + bytes(4)
SMALL = imagecodecs.jpeg2k_encode(np.zeros((5, 7), np.uint8), level=0, codecformat="j2k")
DAMAGED = {
    "rows": (lambda: lying(b"\x28\x00\x10\x00", 60_000), "cut short"),
    "bits": (lambda: lying(b"\x28\x00\x00\x01", 12), "samples of 16 of 12 bits"),
    "stored": (lambda: lying(b"\x28\x00\x01\x01", 17), "samples of 17 of 16 bits"),
    "high": (lambda: lying(b"\x28\x00\x02\x01", 14), "do not begin at the lowest bit"),
    "samples": (lambda: lying(b"\x28\x00\x02\x00", 3), "3 samples a pixel of MONOCHROME2"),
    "no rows": (lambda: lying(b"\x28\x00\x10\x00", 0), "its size is"),
    "frames": (lambda: whole(dataset(CT[0], NumberOfFrames=2_000_000)), "at most 262144"),
    "short": (lambda: whole(dataset(CT[0]))[:-1], "cut short: 1 bytes"),
    "header": (lambda: whole(dataset(CT[0]))[:500], "no picture in it"),
    "report": (lambda: whole(dataset(CT[0]))[: whole(dataset(CT[0])).index(b"\xe0\x7f\x10\x00")], "no picture in it"),
    "nested": (lambda: nested(3000), "truncated volume"),
    "deflated": (deflated, "deflated as a whole"),
    "syntax": (lambda: whole(coded(CT[0], uid.MPEG2MPML, b"abcd")), "are not decoded"),
    "stream size": (lambda: whole(coded(CT[0], uid.JPEG2000Lossless, J2K)), "holds a stream of 900 x 900"),
    "small stream": (lambda: whole(coded(CT[0], uid.JPEG2000Lossless, SMALL)), "holds a stream of (5, 7)"),
    "1 bit": (lambda: whole(dataset(CT[0], BitsAllocated=1, BitsStored=1, HighBit=0)), "samples of 1 of 1 bits"),
    "stream": (lambda: whole(coded(CT[0], uid.JPEGLSLossless, b"abcdefgh")), "does not tell its size"),
    "RLE": (lambda: whole(coded(CT[0], uid.RLELossless, RLE)), "damaged"),
    "few fragments": (lambda: whole(coded(np.stack([CT[0].astype(np.uint8)] * 3), uid.JPEGLSLossless,
                      imagecodecs.jpegls_encode(CT[0].astype(np.uint8)))), "truncated volume"),
    "table": (lambda: whole(dataset(CT[0], ModalityLUTSequence=Sequence([Dataset()]))), "Modality LUT"),
    "slope": (lambda: whole(dataset(CT[0], RescaleSlope=1.5)).replace(b"1.5 ", b"inf "), "rescaled by inf"),
    "half colours": (lambda: whole(dataset(CT[:, :, :3].astype(np.uint8), PhotometricInterpretation="YBR_FULL_422")),
                     "half the width"),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGED)
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, how: str) -> None:
    make, words = DAMAGED[how]
    (tmp_path / "in.dcm").write_bytes(make())
    refuses(words, "'in.dcm': ", "filter", "in.dcm", "-k", "box:3", "-o", "out.nii", cwd=tmp_path)
    assert not (tmp_path / "out.nii").exists()


def test_ten_thousand_tags(tmp_path: Path) -> None:
    made = dataset(CT[0])
    block = made.private_block(0x1001, "someone", create=True)
    for number in range(200):
        block.add_new(number, "LO", "x" * 60)
    for group in range(0x1003, 0x1003 + 100, 2):
        block = made.private_block(group, "someone", create=True)
        for number in range(200):
            block.add_new(number, "UL", number)
    source, found = read(save(tmp_path / "a.dcm", made))
    np.testing.assert_array_equal(found, CT[0])
    assert "private elements" in "".join(source.info.notes)


def test_none_is_written(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", dataset(CT[0]))
    done = convcli("filter", path, "-k", "box:3", "-o", "o.dcm", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == b"error: 'o.dcm': dicom is only read; write .nii.gz or .tif\n"


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "in.dcm", dataset(CT[0]))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    arguments = ["filter", str(tmp_path / "in.dcm"), "-k", "box:3", "-o", str(tmp_path / "out.nii")]
    done = CliRunner().invoke(build(["filter"]), arguments, catch_exceptions=True)
    assert 'DICOM needs the package pydicom: pip install "convcli[volume]"' in str(done.exception)
