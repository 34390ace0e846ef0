"""NRRD beside pynrrd, MetaImage beside its written form: samples, places, fields, and what is refused."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
from scipy import ndimage

from tests.media.test_volumes import run
from tests.shell import convcli

RANDOM = np.random.default_rng(12)
HEAD = RANDOM.integers(-1000, 2000, (14, 12, 9)).astype(np.int16)  # x, y, z
DIRECTIONS = np.array([[1.5, 0.1, 0], [-0.2, 2, 0.3], [0, -0.4, 3]])  # of x, y and z, in LPS
ORIGIN = np.array([10.0, -20.0, 30.0])
TAPS = np.array([[[1.0, 2.0], [0.5, 0.0], [3.0, 1.0]]])  # 1 x 3 x 2 along z, y, x
FLIP = np.diag([-1.0, -1, 1, 1])


def affine(directions: np.ndarray = DIRECTIONS, origin: np.ndarray = ORIGIN) -> np.ndarray:
    """Return the matrix from indices to millimetres, in LPS."""
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = directions.T, origin
    return made


def save_nrrd(path: Path, values: np.ndarray = HEAD, **fields: object) -> None:
    placed = {"space": "left-posterior-superior", "space directions": DIRECTIONS, "space origin": ORIGIN}
    more = {
        "kinds": ["domain"] * 3,
        "labels": ["i", "j", "k"],
        "thicknesses": [1.0, 2.0, 2.5],
        "sample": "liver",
    }
    nrrd.write(str(path), values, {**placed, **more, "encoding": "raw"} | fields)


def text(values: np.ndarray) -> str:
    return " ".join(map(repr, values.ravel().tolist()))


def mha(
    values: np.ndarray, packed: bool = False, more: str = "", order: str = "<", **fields: object
) -> bytes:
    """Return a MetaImage of values along x, y, z, as the format's page lays it out."""
    data = values.transpose().astype(values.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if packed else data
    lengths = np.linalg.norm(DIRECTIONS, axis=1)
    every = {
        "ObjectType": "Image", "NDims": 3, "BinaryData": "True", "BinaryDataByteOrderMSB": str(order == ">"),
        "CompressedData": str(packed), "TransformMatrix": text(DIRECTIONS / lengths[:, None]),
        "Offset": "10 -20 30", "CenterOfRotation": "0 0 0", "AnatomicalOrientation": "RAI",
        "ElementSpacing": text(lengths), "DimSize": "14 12 9", "ElementType": "MET_SHORT",
    }  # fmt: skip
    lines = [f"{name} = {value}\n" for name, value in (every | fields).items()]
    return "".join([*lines, more, "ElementDataFile = LOCAL\n"]).encode() + data


def parsed(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Return samples along x, y and z, the matrix in LPS, and the fields of a MetaImage."""
    head, _, data = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
    fields = dict(line.split(" = ") for line in head.decode().splitlines())
    numbers = {
        name: np.array(fields[name].split(), float)
        for name in ("Offset", "TransformMatrix", "ElementSpacing")
    }
    rows = numbers["TransformMatrix"].reshape(3, 3) * numbers["ElementSpacing"][:, None]
    kind = {"MET_FLOAT": "<f4", "MET_DOUBLE": "<f8", "MET_SHORT": "<i2"}[fields["ElementType"]]
    sizes = [int(n) for n in fields["DimSize"].split()]
    return np.frombuffer(data, kind).reshape(sizes[::-1]).transpose(), affine(rows, numbers["Offset"]), fields


STEPS = [
    ((), np.s_[:, :, :], [0.5, 0, 0], 1),
    (("--padding", "valid"), np.s_[:-1, 1:-1, :], [0.5, 1, 0], 1),
    (("--stride", "2"), np.s_[::2, ::2, ::2], [0.5, 0, 0], 2),
]


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "nii"])
@pytest.mark.parametrize("given", ["nrrd", "nrrd gzip", "mha", "mha packed", "mha big"])
@pytest.mark.parametrize(("options", "cut", "first", "step"), STEPS)
def test_results_lie_where_they_belong(
    tmp_path: Path,
    given: str,
    suffix: str,
    options: tuple[str, ...],
    cut: tuple[slice, ...],
    first: list[float],
    step: int,
) -> None:
    """An output of a 2-wide window lies half a voxel beside; one that is left out at the border a voxel further."""
    source, out = tmp_path / f"in.{given.split()[0]}", tmp_path / f"out.{suffix}"
    if "nrrd" in given:
        save_nrrd(source, encoding=given.split()[-1].replace("nrrd", "raw"))
    else:
        source.write_bytes(mha(HEAD, "packed" in given, "sample = liver\n", "<>"["big" in given]))
    np.save(tmp_path / "k.npy", TAPS)
    said = run(source, "-k", tmp_path / "k.npy", *options, "--pad-mode", "replicate", "-o", out)
    full = ndimage.correlate(HEAD.astype(float), TAPS.transpose(), mode="nearest", origin=(-1, 0, 0))
    moved = np.diag([step, step, step, 1.0])
    moved[:3, 3] = first
    want = affine() @ moved
    if suffix == "nii":
        image = nibabel.load(out)
        values, found = image.get_fdata(), FLIP @ image.affine
        np.testing.assert_allclose(
            image.header.get_zooms(), np.linalg.norm(DIRECTIONS, axis=1) * step, rtol=1e-6
        )
        assert image.header["sform_code"] == 1
    elif suffix == "nrrd":
        values, header = nrrd.read(str(out))
        found = affine(header["space directions"], header["space origin"])
        assert header["space"] == "left-posterior-superior"
        if "nrrd" in given:
            assert (header["sample"], header["labels"], list(header["thicknesses"])) == (
                "liver",
                ["i", "j", "k"],
                [1, 2, 2.5],
            )
    else:
        values, found, fields = parsed(out)
        if "mha" in given:
            assert fields["sample"] == "liver"
    assert ("the header of the" in said) == (given.split()[0] != suffix)
    np.testing.assert_allclose(found, want, atol=1e-5)
    np.testing.assert_allclose(values, full[cut], rtol=1e-6)


def test_axes_by_their_kinds(tmp_path: Path) -> None:
    """Vectors are channels wherever they stand; time is an axis of its own, with a spacing."""
    values = RANDOM.normal(size=(3, 6, 5, 4)).astype(np.float32)
    directions = np.vstack([np.full((1, 3), np.nan), DIRECTIONS])
    save_nrrd(tmp_path / "v.nrrd", values, **{"kinds": ["vector", *["domain"] * 3], "space directions": directions,
              "labels": ["v", "i", "j", "k"], "thicknesses": [np.nan, 1.0, 2.0, 2.5]})  # fmt: skip
    run(tmp_path / "v.nrrd", "-k", "box:3", "--pad-mode", "replicate", "-o", tmp_path / "o.nrrd")
    found, header = nrrd.read(str(tmp_path / "o.nrrd"))
    np.testing.assert_allclose(
        found,
        ndimage.uniform_filter(values.astype(float), (1, 3, 3, 3), mode="nearest"),
        rtol=1e-5,
        atol=1e-6,
    )
    assert header["kinds"] == ["vector", "domain", "domain", "domain"]
    np.testing.assert_allclose(header["space directions"][1:], DIRECTIONS, rtol=1e-12)
    timed = {
        "kinds": ["domain", "domain", "domain", "time"],
        "encoding": "gzip",
        "spacings": [1.0, 2.0, 3.0, 0.5],
        "axis mins": [0.0, 10.0, 0, 4],
        "units": ["mm", "um", "mm", "s"],
    }
    nrrd.write(str(tmp_path / "t.nrrd"), values, timed)
    run(tmp_path / "t.nrrd", "-k", "temporal-mean:2", "--stride", "2,1,1", "-o", tmp_path / "o.nrrd", "-y")
    found, header = nrrd.read(str(tmp_path / "o.nrrd"))
    np.testing.assert_allclose(found, (values[..., ::2] + values[..., 1::2]) / 2, atol=1e-6)
    np.testing.assert_allclose(header["spacings"], [1, 0.002, 3, 1])
    np.testing.assert_allclose(header["axis mins"], [0, 0.01, 0, 4.25], atol=1e-12)
    assert header["kinds"] == ["domain", "domain", "domain", "time"]


@pytest.mark.parametrize(("kind", "size"), [("list", 3), ("3D-symmetric-matrix", 6), ("RGB-color", 3)])
@pytest.mark.parametrize("place", [0, 3])
def test_what_the_channels_are_is_kept(kind: str, size: int, place: int, tmp_path: Path) -> None:
    """A list, which 3D Slicer takes for a sequence, became a vector."""
    kinds = ["domain"] * 3
    kinds.insert(place, kind)
    directions = np.insert(DIRECTIONS, place, np.nan, axis=0)
    values = np.moveaxis(RANDOM.normal(size=(size, 6, 5, 4)).astype(np.float32), 0, place)
    save_nrrd(tmp_path / "a.nrrd", values, **{"kinds": kinds, "space directions": directions})
    run(tmp_path / "a.nrrd", "-k", "box:3", "-o", tmp_path / "o.nrrd")
    assert nrrd.read_header(str(tmp_path / "o.nrrd"))["kinds"] == kinds
    run(tmp_path / "a.nrrd", "-k", "box:3", "--channels", "mean", "-o", tmp_path / "o.nrrd", "-y")
    assert nrrd.read_header(str(tmp_path / "o.nrrd"))["kinds"] == ["domain"] * 3


def test_colours(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (3, 9, 7)).astype(np.uint8)
    nrrd.write(
        str(tmp_path / "a.nrrd"), pixels, {"kinds": ["RGB-color", "domain", "domain"], "encoding": "raw"}
    )
    run(tmp_path / "a.nrrd", "-k", "1", "--range", "clip", "-o", tmp_path / "b.mha")
    run(tmp_path / "b.mha", "-k", "1", "--range", "clip", "-o", tmp_path / "c.png")
    run(tmp_path / "c.png", "-k", "1", "--range", "clip", "-o", tmp_path / "d.nrrd")
    found, header = nrrd.read(str(tmp_path / "d.nrrd"))
    assert header["kinds"] == ["RGB-color", "domain", "domain"]
    np.testing.assert_array_equal(found, pixels)


NRRD = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 4 5 6\nendian: little\nencoding: raw\n"
DAMAGED = {
    "detached": (NRRD + b"data file: ../secret.raw\n\n" + bytes(240), "other files: save both as one .nrrd"),
    "list": (NRRD + b"data file: LIST\na.raw\n\n", "truncated volume"),
    "text": (NRRD.replace(b"raw", b"ascii") + b"\n" + b"1 " * 120, "encoding 'ascii'"),
    "skip": (NRRD + b"byte skip: -1\n\n" + bytes(240), "do not follow"),
    "short": (NRRD + b"\n" + bytes(239), "cut short: 1 of"),
    "huge": (NRRD.replace(b"4 5 6", b"9999999 9999999 9999999") + b"\n", "cut short"),
    "negative": (NRRD.replace(b"4 5 6", b"-4 5 6") + b"\n", "axes of"),
    "sizes": (NRRD.replace(b"4 5 6", b"4 5") + b"\n", "axes of"),
    "type": (NRRD.replace(b"short", b"block") + b"\n" + bytes(999), "only integers and floats"),
    "unknown": (NRRD.replace(b"short", b"shirt") + b"\n" + bytes(999), "truncated volume"),
    "header": (NRRD, "cut short in its header"),
    "singular": (NRRD + b"space: LPS\nspace directions: (1,0,0) (0,0,0) (0,0,1)\n\n" + bytes(240), "singular"),
    "bomb": (NRRD.replace(b"raw", b"gzip") + b"\n" + gzip.compress(bytes(1 << 24)), "more than such a file can hold"),
    "gzip": (NRRD.replace(b"raw", b"gzip") + b"\n" + gzip.compress(RANDOM.bytes(240))[:-99], "truncated volume"),
    "mhd": (mha(HEAD).replace(b"= LOCAL", b"= ../secret.raw"), "other files: save both as one .mha"),
    "mha short": (mha(HEAD)[:-1], "cut short: 1 of"),
    "mha tube": (mha(HEAD).replace(b"= Image", b"= Tube"), "only images"),
    "mha sizes": (mha(HEAD, DimSize="14 12"), "axes of"),
    "mha type": (mha(HEAD, ElementType="MET_OTHER"), "truncated volume"),
    "mha matrix": (mha(HEAD, TransformMatrix="1 0 0"), "9 numbers are needed"),
    "mha zeros": (mha(HEAD, ElementSpacing="1 0 1"), "singular"),
    "mha packed": (mha(HEAD, True)[:-300], "cut short"),
    "mha bomb": (mha(HEAD, True).partition(b"LOCAL\n")[0] + b"LOCAL\n" + zlib.compress(bytes(1 << 24)), "more than"),
    "mha header": (mha(HEAD)[:99], "cut short in its header"),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGED)
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, how: str) -> None:
    data, words = DAMAGED[how]
    name = "in.nrrd" if data.startswith(b"NRRD") else "in.mha"
    (tmp_path / name).write_bytes(data)
    done = convcli("filter", name, "-k", "box:3", "-o", "out.nii", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stderr.decode().startswith(f"error: '{name}': ")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "out.nii").exists()


def test_limits_of_values_are_not_those_of_results(tmp_path: Path) -> None:
    save_nrrd(tmp_path / "a.nrrd", min=-1000, max=1999)
    (tmp_path / "a.mha").write_bytes(mha(HEAD, ElementMin=-1000, ElementMax=1999))
    for form in ("nrrd", "mha"):
        said = run(tmp_path / f"a.{form}", "-k", "box:3", "-o", tmp_path / f"b.{form}")
        assert f"note: left out of the {form.upper()}: limits of values\n" in said
    assert not {"min", "max"} & nrrd.read_header(str(tmp_path / "b.nrrd")).keys()
    assert b"ElementM" not in (tmp_path / "b.mha").read_bytes()
