"""NIfTI beside nibabel: samples, affines, what stands in the header, and what is refused."""

import gzip
import struct
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat
from PIL import Image
from scipy import ndimage
from typer.testing import CliRunner

from convcli.cli.program import build
from convcli.media import registry
from convcli.media.options import ReadOptions
from tests.shell import convcli

RANDOM = np.random.default_rng(11)
TILTED = from_matvec(euler2mat(0.3, -0.1, 1.2) @ np.diag([1.5, -2, 3]), [10, -20, 30])
HEAD = RANDOM.integers(-1000, 2000, (20, 24, 15)).astype(np.int16)
TAPS = np.array([[[1.0, 2.0], [0.5, 0.0], [3.0, 1.0]]])  # 1 x 3 x 2 along z, y, x


def save(
    path: Path, values: np.ndarray, kind: type = nibabel.Nifti1Image, endian: str = "<"
) -> nibabel.Nifti1Image:
    image = kind(values, None, kind.header_class(endianness=endian))
    image.set_sform(TILTED, 1)
    image.set_qform(TILTED, 3)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"a scan"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"left hemisphere"))
    nibabel.save(image, path)
    return nibabel.load(path)


def run(*arguments: object) -> str:
    """Run a filter in this process; return what it says on stderr."""
    done = CliRunner().invoke(build(["filter"]), ["filter", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("kind", "endian"), [(nibabel.Nifti1Image, "<"), (nibabel.Nifti2Image, ">")])
@pytest.mark.parametrize(
    ("options", "cut"),
    [
        ((), np.s_[:, :, :]),
        (("--padding", "valid"), np.s_[:-1, 1:-1, :]),
        (("--stride", "2"), np.s_[::2, ::2, ::2]),
    ],
)
def test_results_lie_where_they_belong(
    tmp_path: Path, suffix: str, kind: type, endian: str, options: tuple[str, ...], cut: tuple[slice, ...]
) -> None:
    """An output of a 2-wide window along x lies half a voxel beside that of `slicer`, which knows no windows."""
    given = save(tmp_path / f"in{suffix}", HEAD, kind, endian)
    np.save(tmp_path / "k.npy", TAPS)
    out = tmp_path / f"out{suffix}"
    more = (*options, "--pad-mode", "replicate", "-o", out)
    said = run(tmp_path / f"in{suffix}", "-k", tmp_path / "k.npy", *more)
    assert said.endswith("k.npy is 3-D on this volume (z,y,x); --axis yx filters each slice\n")
    made, want = nibabel.load(out), given.slicer[cut]
    assert made.get_data_dtype().newbyteorder("=") == np.float32
    half = from_matvec(np.eye(3), [0.25 if "2" in options else 0.5, 0, 0])
    np.testing.assert_allclose(made.affine, want.affine @ half, atol=1e-5)
    np.testing.assert_allclose(made.header.get_zooms(), want.header.get_zooms(), rtol=1e-6)
    assert [made.header[key].item() for key in ("sform_code", "qform_code")] == [1, 3]
    np.testing.assert_allclose(made.get_qform(), made.get_sform(), atol=1e-4)
    assert made.header["descrip"].item() == b"a scan"
    assert [one.get_content() for one in made.header.extensions] == [b"left hemisphere"]
    full = ndimage.correlate(HEAD.astype(float), TAPS.transpose(), mode="nearest", origin=(-1, 0, 0))
    np.testing.assert_allclose(made.get_fdata(), full[cut], rtol=1e-6)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_pools_of_volumes_over_time(tmp_path: Path, engine: str) -> None:
    """A line says along which axes; the loops for three axes are not asked for four."""
    values = RANDOM.normal(size=(6, 4, 8, 2)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "in.nii")
    cubes = values.reshape(3, 2, 2, 2, 4, 2, 2)
    for options, said, expected in (
        (["max:2"], "3-D on this volume (z,y,x)", cubes.max((1, 3, 5))),
        (
            ["avg:2", "--axis", "yx"],
            "along y,x of this volume alone",
            values.reshape(3, 2, 2, 2, 8, 2).mean((1, 3)),
        ),
        (["max:2", "--axis", "tzx"], "3-D on this volume (t,z,x)", cubes.max((1, 5, 6), keepdims=True)),
    ):
        told = run(
            tmp_path / "in.nii", "--engine", engine, "--pool", *options, "-o", tmp_path / "out.nii", "-y"
        )
        found = nibabel.load(tmp_path / "out.nii").get_fdata()
        np.testing.assert_allclose(found.ravel(), expected.ravel(), rtol=1e-6)
        assert said in told


def test_kernels_without_a_rank_are_3d_and_measure_millimetres(tmp_path: Path) -> None:
    """scipy truncates at four sigmas too; other kernels filter each slice, and a line says so."""
    save(tmp_path / "in.nii", HEAD)
    job = (tmp_path / "in.nii", "--pad-mode", "replicate", "-o", tmp_path / "out.nii", "-y")
    said = run(*job, "-k", "gaussian:sigma=3mm")
    want = ndimage.gaussian_filter(HEAD.astype(float), [2, 1.5, 1], mode="nearest")
    np.testing.assert_allclose(nibabel.load(tmp_path / "out.nii").get_fdata(), want, rtol=1e-6, atol=1e-4)
    assert said.startswith("note: gaussian:sigma=3mm is 3-D on this volume (z,y,x)")
    said = run(*job, "-k", "gaussian:sigma=1")
    assert "gaussian:sigma=1 counts them, gaussian:sigma=1.5mm measures" in said
    said = run(*job, "-k", "box:3x3")
    assert said == "note: box:3x3 goes along y,x of this volume alone\n"
    want = ndimage.uniform_filter(HEAD.astype(float), [3, 3, 1], mode="nearest")
    np.testing.assert_allclose(nibabel.load(tmp_path / "out.nii").get_fdata(), want, rtol=1e-6, atol=1e-4)
    run(tmp_path / "in.nii", "--pool", "max:2,s=1", "-o", tmp_path / "out.nii", "-y")
    want = ndimage.maximum_filter(HEAD, 2, origin=-1)[:-1, :-1, :-1]
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out.nii").get_fdata(), want)


def test_tiff_is_a_volume_where_it_names_z(tmp_path: Path) -> None:
    """Pages alone are filtered one by one, unless a person says what they are."""
    pages = RANDOM.integers(0, 1000, (5, 9, 12)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "imagej.tif", pages, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "pages.tif", pages, photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "a.ome.tif", pages, photometric="minisblack", metadata={"axes": "ZYX"})
    asked = ("--axes", "ZYX")
    jobs = [("imagej.tif", (), 3), ("pages.tif", (), 1), ("pages.tif", asked, 3), ("a.ome.tif", asked, 3)]
    for name, options, deep in jobs:
        job = (tmp_path / name, "-k", "box:3", "--pad-mode", "replicate", "--range", "float", *options)
        run(*job, "-o", tmp_path / "out.tif", "-y")
        want = ndimage.uniform_filter(pages.astype(float), (deep, 3, 3), mode="nearest")
        np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), want, rtol=1e-6)


def test_any_box_is_read(tmp_path: Path) -> None:
    """Four axes, big-endian."""
    values = RANDOM.normal(size=(9, 8, 7, 5)).astype(np.float32)
    given = save(tmp_path / "in.nii", values, endian=">")
    with (tmp_path / "in.nii").open("rb") as fp:
        source = registry.open_source(fp, registry.by_name("nii"), ReadOptions())
        assert source.info.letters == "TZYX"
        for box in [((1, 3), (2, 7), (0, 8), (3, 4)), ((4, 5), (0, 7), (7, 8), (0, 9))]:
            t, z, y, x = (slice(*span) for span in box)
            np.testing.assert_array_equal(source.read(box), given.dataobj[x, y, z, t].transpose())


def test_time_and_scales(tmp_path: Path) -> None:
    """What an axis of time and a slope mean; a single slice is a picture."""
    values = RANDOM.integers(0, 99, (6, 5, 1, 8)).astype(np.int16)
    image = nibabel.Nifti1Image(values, TILTED)
    image.header.set_xyzt_units("micron", "msec")
    image.header["pixdim"][4], image.header["toffset"] = 1500, 250
    image.header.set_slope_inter(0.25, -7)
    nibabel.save(image, tmp_path / "in.nii")
    assert (
        run(tmp_path / "in.nii", "-k", "temporal-mean:2", "--stride", "2,1,1", "-o", tmp_path / "out.nii")
        == ""
    )
    made = nibabel.load(tmp_path / "out.nii")
    scaled = nibabel.load(tmp_path / "in.nii").get_fdata()
    assert made.get_data_dtype() == np.float64
    np.testing.assert_allclose(made.get_fdata()[:, :, 0], (scaled[..., ::2] + scaled[..., 1::2])[:, :, 0] / 2)
    assert made.header.get_xyzt_units() == ("micron", "msec")
    assert (made.header["pixdim"][4], made.header["toffset"]) == (3000, 1000)
    assert (float(made.dataobj.slope), float(made.dataobj.inter)) == (1, 0)


def test_kernels_of_clips_slide_along_time(tmp_path: Path) -> None:
    """Of volumes over time they take T, Y and X; of a volume without time, and where `--axis` says so, Z."""
    values = RANDOM.normal(size=(6, 5, 4, 8)).astype(np.float32)
    image = nibabel.Nifti1Image(values, np.diag([3, 3, 4, 1]))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2
    nibabel.save(image, tmp_path / "in.nii")
    nibabel.save(nibabel.Nifti1Image(values[..., 0], image.affine), tmp_path / "one.nii")
    steps = [1, -1]  # np.convolve mirrors them
    for name, options, axis, expected in (
        (
            "in",
            ["-k", "temporal-mean:6s", "--stride", "2,1,1"],
            "t,y,x",
            ndimage.uniform_filter1d(values, 3)[..., 1:-1:2],
        ),
        (
            "in",
            ["-k", "frame-difference"],
            "t,y,x",
            np.apply_along_axis(np.convolve, 3, values, steps, "valid"),
        ),
        (
            "in",
            ["-k", "frame-difference", "--axis", "zyx", "--padding", "0"],
            "z,y,x",
            np.diff(values, axis=2),
        ),
        ("one", ["-k", "frame-difference", "--padding", "0"], "z,y,x", np.diff(values[..., 0], axis=2)),
    ):
        said = run(tmp_path / f"{name}.nii", *options, "-o", tmp_path / "out.nii", "-y")
        assert axis in said
        np.testing.assert_allclose(nibabel.load(tmp_path / "out.nii").get_fdata(), expected, atol=1e-6)


def test_colours_and_other_formats(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png", dpi=(254, 254))
    run(tmp_path / "in.png", "-k", "identity", "--range", "clip", "-o", tmp_path / "a.nii.gz")
    made = nibabel.load(tmp_path / "a.nii.gz")
    assert made.get_data_dtype().names == ("R", "G", "B")
    np.testing.assert_array_equal(np.asarray(made.dataobj).view((np.uint8, 3)).transpose(1, 0, 2), pixels)
    np.testing.assert_allclose(made.header.get_zooms(), [0.1, 0.1])
    said = run(tmp_path / "a.nii.gz", "-k", "identity", "-o", tmp_path / "b.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), pixels)
    lost = ("the affine", "the header of the NII")
    assert said == "".join(f"note: {what} is left out: PNG holds none\n" for what in lost)


def test_more_samples_than_the_first_version_counts(tmp_path: Path) -> None:
    values = RANDOM.normal(size=(40_000, 2)).astype(np.float32)
    np.save(tmp_path / "in.npy", values)
    run(tmp_path / "in.npy", "-k", "identity", "-o", tmp_path / "out.nii")
    made = nibabel.load(tmp_path / "out.nii")
    assert isinstance(made, nibabel.Nifti2Image)
    np.testing.assert_array_equal(np.asarray(made.dataobj), values.transpose())


def test_maps_and_folders_keep_the_suffix_of_two_dots(tmp_path: Path) -> None:
    """Of a bank each map has a file, which is read by its name again."""
    save(tmp_path / "in.nii.gz", HEAD)
    np.save(tmp_path / "k.npy", np.array([[[1.0, -2.0]], [[3.0, 5.0]]])[:, None])
    run(tmp_path / "in.nii.gz", "-k", tmp_path / "k.npy", "--padding", "valid", "-o", tmp_path / "o.nii.gz")
    x = HEAD.astype(float)
    for n, (left, right) in enumerate([(1, -2), (3, 5)]):
        made = nibabel.load(tmp_path / f"o.{n}.nii.gz").get_fdata()
        np.testing.assert_array_equal(made, left * x[:-1] + right * x[1:])


def test_from_a_pipe(tmp_path: Path) -> None:
    save(tmp_path / "in.nii.gz", HEAD)
    done = convcli("filter", "-", "-k", "1", "-o", "-", "-q", stdin=(tmp_path / "in.nii.gz").read_bytes())
    (tmp_path / "out.nii.gz").write_bytes(done.stdout)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out.nii.gz").get_fdata(), HEAD)


def damaged(how: str, path: Path) -> str:
    """Write a file that is damaged somehow; return words of the error."""
    save(path, HEAD)
    header = bytearray(gzip.decompress(path.read_bytes()))
    size = len(header)
    words = ""
    if how == "singular":
        header[280:292], words = bytes(12), "singular"  # the first row of sform
    elif how == "pair":
        header[344:347], words = b"ni1", "pair"
    elif how == "complex":
        header[70:72], words = (32).to_bytes(2, "little"), "only integers and floats"
    elif how == "type":
        header[70:72], words = (77).to_bytes(2, "little"), "77 is missing or unknown"
    elif how == "axes":
        header[40:42], words = (9).to_bytes(2, "little"), "axes of"
    elif how == "negative":
        header[42:44], words = (-4).to_bytes(2, "little", signed=True), "axes"
    elif how == "large":  # says more than there is
        header[42:44], words = (32_000).to_bytes(2, "little"), "cut short"
    elif how in ("offset nan", "offset inf", "offset 4"):
        header[108:112], words = struct.pack("<f", float(how.split()[1])), "not behind its header"
    elif how == "short":
        header, words = header[:350], "cut short"
    elif how == "long":
        header, words = header + bytes(1 << 23), "more than such a file can hold"
    assert size > 7000
    path.write_bytes(gzip.compress(header))
    if how == "gzip":
        path.write_bytes(path.read_bytes()[:-2000])
        words = "broken or truncated volume"
    return words


@pytest.mark.parametrize(
    "how",
    [
        *("singular", "pair", "complex", "type", "axes", "negative", "large", "short", "long", "gzip"),
        *("offset nan", "offset inf", "offset 4"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, how: str) -> None:
    words = damaged(how, tmp_path / "in.nii.gz")
    done = convcli("filter", "in.nii.gz", "-k", "box:3", "-o", "out.nii", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("error: 'in.nii.gz': ")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "out.nii").exists()


@pytest.mark.parametrize("size", [0.0, 1e-320, 1e300, np.inf])
def test_affines_beyond_any_size_are_refused_or_kept_without_a_warning(tmp_path: Path, size: float) -> None:
    """NIfTI-2 has them in 64 bits; this suite takes a warning for an error."""
    save(tmp_path / "in.nii", HEAD, nibabel.Nifti2Image)
    data = bytearray((tmp_path / "in.nii").read_bytes())
    data[400:496] = struct.pack("<12d", 0, 1, 0, 0, size, 0, 0, 1, 0, 0, 1, 0)  # the rows of sform
    data[344:348] = bytes(4)  # no qform
    (tmp_path / "in.nii").write_bytes(data)
    arguments = ["filter", str(tmp_path / "in.nii"), "-k", "box:3", "-o", str(tmp_path / "out.nii")]
    done = CliRunner().invoke(build(["filter"]), arguments, catch_exceptions=True)
    if size != 1e300:
        assert "its affine is singular" in str(done.exception)
    else:
        assert done.exit_code == 0, done.exception


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "in.nii", HEAD)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    arguments = ["filter", str(tmp_path / "in.nii"), "-k", "box:3", "-o", str(tmp_path / "out.nii")]
    done = CliRunner().invoke(build(["filter"]), arguments, catch_exceptions=True)
    assert 'NIfTI needs the package nibabel: pip install "convcli[volume]"' in str(done.exception)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 12])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_samples_that_begin_nowhere(value: float, name: str, tmp_path: Path) -> None:
    """Found by `make fuzz`: an offset that is no number."""
    save(tmp_path / "whole.nii", HEAD)
    data = bytearray((tmp_path / "whole.nii").read_bytes())
    data[108:112] = struct.pack("<f", value)  # vox_offset
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    done = convcli("filter", name, "-k", "box:3", cwd=tmp_path)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"its samples begin at byte" in done.stderr


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_what_is_not_true_of_other_values_is_said(kind: type, tmp_path: Path) -> None:
    """How it is to be shown, and what it is distributed as: a mean of t values is none; names and remarks stay."""
    image = kind(np.arange(60, dtype=np.int16).reshape(5, 4, 3), np.eye(4))
    image.header["descrip"], image.header["aux_file"] = b"a scan", b"lut.txt"
    image.header["cal_max"] = 50
    image.header.set_intent("t test", (9,), name="effect")
    nibabel.save(image, tmp_path / "a.nii")
    said = run(tmp_path / "a.nii", "-k", "box:3", "-o", tmp_path / "b.nii")
    assert "left out of the NII: limits of values, what statistic the values are\n" in said
    header = nibabel.load(tmp_path / "b.nii").header
    assert [header[key].item() for key in ("cal_min", "cal_max", "descrip", "aux_file")] == [
        0,
        0,
        b"a scan",
        b"lut.txt",
    ]
    assert header.get_intent() == ("none", (), "")
    image.header.set_intent("vector")
    image.header["cal_max"] = 0
    nibabel.save(image, tmp_path / "c.nii")
    assert "left out" not in run(tmp_path / "c.nii", "-k", "box:3", "-o", tmp_path / "d.nii")
    assert nibabel.load(tmp_path / "d.nii").header.get_intent()[0] == "vector"
