"""HDF5 and NetCDF: read in parts, written with their coordinates; results against scipy on h5py's own decode."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
import pytest
from scipy import ndimage

from convcli.common.errors import ConvError
from convcli.data.axes import Even, Listed
from convcli.data.info import Info, Source
from convcli.media import opening, registry
from convcli.media.options import ReadOptions, WriteOptions
from tests import shell

KERNEL = np.array([[1, 2, 0], [0, 3, 1], [1, 0, 0.5]])
TEXT = ";".join(",".join(map(str, row)) for row in KERNEL)
RANDOM = np.random.default_rng(11)


def opened(name: str, **options: Any) -> Source:
    """Open an array of a file."""
    given = opening.Given(name)
    format, _ = registry.identify(given.head, given.files[0])
    return given.open(format, ReadOptions(**options))


def convcli(*words: object, cwd: Path) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it says."""
    done = shell.convcli(*words, cwd=cwd)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def correlated(values: np.ndarray) -> np.ndarray:
    """Return what the kernel makes of the last two axes, without a border, in float64."""
    full = ndimage.correlate(values.astype(float), KERNEL.reshape((1,) * (values.ndim - 2) + (3, 3)))
    return full[..., 1:-1, 1:-1]


LAYOUTS: dict[str, dict[str, Any]] = {
    "in one piece": {},
    "chunked": {"chunks": (4, 7)},
    "packed": {"chunks": (5, 30), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"chunks": True, "compression": "lzf"},
}


@pytest.mark.parametrize(
    ("layout", "dtype"),
    [("in one piece", "<i2"), ("in one piece", ">f4"), ("chunked", ">u4"), ("packed", "<f2"), ("lzf", "<i8")],
)
def test_any_box_is_read_whatever_the_layout(tmp_path: Path, layout: str, dtype: str) -> None:
    values = (RANDOM.random((20, 30)) * 100).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file.create_dataset("group/x", data=values, dtype=dtype, **LAYOUTS[layout])
        file["table"] = np.zeros((2, 2))
    source = opened(f"{tmp_path}/a.h5::/group/x")
    assert (source.info.letters, source.info.dtype) == ("YX", np.dtype(dtype).newbyteorder("=").name)
    assert source.grain.piece == {"chunked": (4, 7), "packed": (5, 30)}.get(layout, source.grain.piece)
    for spans in (((0, 20), (0, 30)), ((3, 9), (6, 8)), ((19, 20), (0, 1))):
        np.testing.assert_array_equal(source.read(spans), values[tuple(slice(*span) for span in spans)])
    source.close()


def climate(path: Path, **more: Any) -> np.ndarray:
    """Write a packed NetCDF with gaps, as weather services do; return what its numbers mean."""
    stored = RANDOM.integers(0, 500, (3, 8, 10)).astype("i2")
    stored[1, 3, 4] = -999
    with h5netcdf.File(path, "w") as file:
        file.attrs["title"] = "air"
        file.dimensions = {"day": 3, "lat": 8, "lon": 10}
        air = file.create_variable(
            "tas", ("day", "lat", "lon"), "i2", fillvalue=np.int16(-999), chunks=(1, 4, 5), compression="gzip"
        )
        air[...] = stored
        air.attrs.update(
            units="K", long_name="air temperature", valid_min=np.int16(0), coordinates="lat lon", **more
        )
        for name, values, units in (
            ("day", np.array([2, 3, 4]), "days since 2000-01-01"),
            ("lat", np.linspace(70, 0, 8).astype("f4"), "degrees_north"),
            ("lon", np.array([0, 1, 2, 3, 5, 8, 13, 21, 34, 55.5]), "degrees_east"),
        ):
            file.create_variable(name, (name,), data=values).attrs["units"] = units
    return np.where(stored == -999, np.nan, stored.astype(float))


def test_coordinates_say_what_the_axes_are_and_where_samples_lie(tmp_path: Path) -> None:
    means = climate(tmp_path / "t.nc", scale_factor=0.5, add_offset=np.float32(200))
    source = opened(f"{tmp_path}/t.nc")
    info = source.info
    assert info.letters == "TYX"
    assert info.axis("T").positions == Even(2 * 86_400, 86_400, "s")  # type: ignore[arg-type]
    assert info.axis("Y").positions == Even(70, -10, "deg")  # type: ignore[arg-type]
    assert isinstance(info.axis("X").positions, Listed)
    assert [info.axis("X").positions.at(index) for index in (4, 9)] == [5, 55.5]  # type: ignore[union-attr]
    np.testing.assert_array_equal(source.read(((0, 3), (2, 8), (1, 9))), means[:, 2:8, 1:9] * 0.5 + 200)
    assert any("packed" in note for note in info.notes)
    assert any("limits of valid values" in note for note in info.notes)
    source.close()


def test_an_unlimited_dimension_is_said_to_be_fixed(tmp_path: Path) -> None:
    with h5netcdf.File(tmp_path / "a.nc", "w") as file:
        file.dimensions = {"time": None, "x": 5}
        file.resize_dimension("time", 4)
        file.create_variable("v", ("time", "x"), "f4", chunks=(2, 5))[...] = np.eye(4, 5)
    source = opened(f"{tmp_path}/a.nc")
    assert source.info.notes == ("the unlimited dimension time gets a fixed size",)
    source.close()


def test_what_fills_absent_chunks_of_hdf5_is_said(tmp_path: Path) -> None:
    for name, fill in (("a", -1), ("b", 0)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.create_dataset("x", data=np.eye(9), chunks=(4, 4), fillvalue=fill)
    told = "the fill value -1 of chunks that are not there is left out: a result has them all"
    for name, notes in (("a", (told,)), ("b", ())):
        source = opened(f"{tmp_path}/{name}.h5")
        assert source.info.notes == notes
        source.close()


def test_coordinates_may_be_packed_or_lack_units_and_turning_back_gives_no_positions(tmp_path: Path) -> None:
    with h5netcdf.File(tmp_path / "a.nc", "w") as file:
        file.dimensions = {"lat": 3, "lon": 4, "band": 2}
        file.create_variable("x", ("band", "lat", "lon"), data=RANDOM.random((2, 3, 4)))
        packed = file.create_variable(
            "lat", ("lat",), data=np.array([10, 20, 30], np.int16), fillvalue=np.int16(-1)
        )
        packed.attrs.update(scale_factor=0.25, add_offset=1.0, units="degrees_north")
        file.create_variable("lon", ("lon",), data=np.array([0.0, 1, 0.5, 2]))
    source = opened(f"{tmp_path}/a.nc")
    info = source.info
    source.close()
    assert info.letters == "CYX"
    assert info.axis("Y").positions == Even(Fraction(7, 2), Fraction(5, 2), "deg")
    assert info.axis("X").positions is None
    assert info.notes == ("left out of the HDF5: coordinates lon, which do not rise or fall",)
    done = convcli("filter", "a.nc", "-k", "1,1", "--padding", "valid", "-o", "b.nc", cwd=tmp_path)
    assert done[0] == 0, done
    with h5netcdf.File(tmp_path / "b.nc", "r") as file:
        np.testing.assert_array_equal(file["lat"][...], [3.5, 6, 8.5])
        assert dict(file["lat"].attrs) == {"units": "degrees_north"}
        assert "lon" in file.dimensions
        assert "lon" not in file.variables


def test_a_netcdf_keeps_what_still_holds_and_its_coordinates_move(tmp_path: Path) -> None:
    means = climate(tmp_path / "t.nc")
    done = convcli(
        "filter", "t.nc", "-k", TEXT, "--stride", "2", "--padding", "valid", "-o", "u.nc", cwd=tmp_path
    )
    assert done[0] == 0, done
    with h5netcdf.File(tmp_path / "u.nc", "r") as file, h5netcdf.File(tmp_path / "t.nc", "r") as old:
        air = file["tas"]
        assert air.dimensions == ("day", "lat", "lon")
        assert dict(file.attrs) == {"title": "air"}
        assert {key: air.attrs[key] for key in air.attrs} == {
            "units": "K", "long_name": "air temperature", "_FillValue": -999,
        }  # fmt: skip
        assert (air.chunks, air._h5ds.compression) == ((1, 3, 4), "gzip")
        for name, places in (("day", slice(None)), ("lat", slice(1, -1, 2)), ("lon", slice(1, -1, 2))):
            assert dict(file[name].attrs) == dict(old[name].attrs)
            assert file[name].dtype == old[name].dtype
            np.testing.assert_array_equal(file[name][...], old[name][...][places])
        found = np.where(air[...] == -999, np.nan, air[...])
    wanted = correlated(means)[:, ::2, ::2]
    gaps = np.isnan(means)[:, 1:-1:2, 1:-1:2]
    near = np.isnan(wanted)
    np.testing.assert_array_equal(np.isnan(found), gaps)
    np.testing.assert_allclose(found[~near], wanted[~near], rtol=1e-6)


def test_results_of_hdf5_are_scipys(tmp_path: Path) -> None:
    values = RANDOM.random((4, 12, 9))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("entry/data", data=values, chunks=(2, 5, 9)).attrs["units"] = "counts"
        file["entry/z"] = np.array([0.0, 0.5, 1.0, 1.5])
        file["entry/z"].make_scale("depth")
        file["entry/z"].attrs["units"] = "m"
        file["entry/data"].dims[0].attach_scale(file["entry/z"])
    words = ("filter", "a.h5::/entry/data", "-k", TEXT, "--axes", "ZYX", "--padding", "valid")
    for output in ("b.h5::/smooth/x", "c.npy"):
        done = convcli(*words, "-o", output, cwd=tmp_path)
        assert done[:2] == (0, f"{output}\n"), done
    np.testing.assert_allclose(np.load(tmp_path / "c.npy"), correlated(values), rtol=1e-14)
    with h5py.File(tmp_path / "b.h5", "r") as file:
        found = file["smooth/x"]
        np.testing.assert_allclose(found[...], correlated(values), rtol=1e-14)
        assert (found.attrs["units"], found.chunks) == ("counts", (2, 5, 7))
        assert found.dims[0][0].name == "/smooth/z"
        assert found.dims[0][0].attrs["units"] == "m"
        np.testing.assert_array_equal(found.dims[0][0][...], [0, 0.5, 1, 1.5])
    assert convcli(*words, cwd=tmp_path)[1] == "a.entry.data.k3x3.h5\n"


@pytest.mark.parametrize("name", ["scale_factor", "add_offset", "nothing"])
def test_packing_that_is_no_number_and_arrays_of_nothing_are_refused(name: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        array = file.create_dataset("a", data=h5py.Empty("f4") if name == "nothing" else np.ones((4, 5)))
        array.attrs[name] = "x"
    said = shell.convcli("filter", "a.h5::/a", "-k", "box:3", "-o", "o.npy", cwd=tmp_path).stderr
    assert (
        said.count(b"\n") == 1 and (b"holds nothing" if name == "nothing" else b"is not a number") in said
    ), said


def test_months_are_no_seconds(tmp_path: Path) -> None:
    with h5netcdf.File(tmp_path / "a.nc", "w") as file:
        file.dimensions = {"time": 3, "y": 4, "x": 5}
        file.create_variable("v", ("time", "y", "x"), data=RANDOM.random((3, 4, 5)))
        file.create_variable("time", ("time",), data=np.arange(3)).attrs["units"] = "months since 2000-01-01"
    for name, words in (
        ("b.nii", "the times of the frames, which are in months, are left out"),
        ("b.nc", ""),
    ):
        done = convcli("filter", "a.nc", "-k", "identity", "-o", name, cwd=tmp_path)
        assert done[0] == 0
        assert words in done[2]
    with h5netcdf.File(tmp_path / "b.nc", "r") as file:
        assert (file["time"].attrs["units"], file["time"][...].tolist()) == (
            "months since 2000-01-01",
            [0, 1, 2],
        )


def hostile(path: Path) -> None:
    """Write a file of arrays that are not read, and of names that lead elsewhere."""
    with h5py.File(path, "w") as file:
        file["entry/data"] = np.arange(12.0).reshape(3, 4)
        file["entry/more"] = np.arange(12.0).reshape(3, 4)
        file["soft"] = h5py.SoftLink("/entry/data")
        file["out"] = h5py.ExternalLink("other.h5", "/x")
        layout = h5py.VirtualLayout((10,), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "x", (10,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (5,), "f8", external=[("raw.bin", 0, h5py.h5f.UNLIMITED)])
        file["complex"] = np.ones((3, 3), complex)
        file["texts"] = ["a", "b"]
        file["pairs"] = np.zeros(3, [("a", "f4"), ("b", "i4")])
        file["links"] = np.array([file["entry"].ref], h5py.ref_dtype)
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((3,))
        plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))
        h5py.h5d.create(file.id, b"zstd", h5py.h5t.NATIVE_INT32, h5py.h5s.create_simple((3,)), plan)
        file.create_dataset("sparse", (10**6, 10**7), "f8", chunks=(100, 100))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "several arrays, name one as FILE::/"),
        ("::/entry/dato", "there is no '/entry/dato' in it; did you mean ::/entry/data?"),
        ("::/soft", "soft link: name the array that it leads to, '/entry/data'"),
        ("::/out/deeper", "'out' is a link to another file"),
        ("::/virtual", "samples in other files"),
        ("::/raw", "samples in other files"),
        ("::/complex", "samples of the type complex128: only integers and floats"),
        ("::/texts", "only integers and floats"),
        ("::/pairs", "only integers and floats"),
        ("::/links", "only integers and floats"),
        ("::/zstd", "filters of others, {32015}: h5repack"),
        ("::/sparse", "--max-pixels"),
    ],
)
def test_what_is_not_read_is_refused_in_one_line(tmp_path: Path, path: str, words: str) -> None:
    hostile(tmp_path / "a.h5")
    (tmp_path / "raw.bin").write_bytes(bytes(40))
    done = convcli("filter", f"a.h5{path}", "-k", "1,2", "-o", "b.h5", cwd=tmp_path)
    assert (done[0], done[2].count("\n")) == (1, 1), done
    assert words in done[2]
    assert not (tmp_path / "b.h5").exists()


def test_a_library_that_crashes_or_runs_on_is_a_damaged_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.arange(600.0).reshape(20, 30), chunks=(5, 30), compression="gzip")
    source = opened(f"{tmp_path}/a.h5")
    source._library._child.kill()  # type: ignore[attr-defined]
    with pytest.raises(ConvError, match="its library crashes"):
        source.read(source.info.box)
    source.close()
    data = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) * 2 // 3])
    for name, words in (("cut.h5", "truncated"), ("classic.nc", "nccopy -k nc4")):
        (tmp_path / "classic.nc").write_bytes(b"CDF\1" + bytes(100))
        done = convcli("filter", name, "-k", "1,2", "-o", "b.h5", cwd=tmp_path)
        assert (done[0], done[2].count("\n")) == (1, 1), done
        assert words in done[2]


@pytest.mark.parametrize("chunks", [(10, 10), (25, 30), (50, 60)])
@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_chunks_that_lie_anywhere_in_the_file_are_read(
    chunks: tuple[int, int], compression: str, tmp_path: Path
) -> None:
    """The library and the reader have one open file each: a position of both would be moved beneath its buffer."""
    values = np.arange(3000).reshape(50, 60) % 256
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values.astype("f4"), chunks=chunks, compression=compression)
    assert convcli("filter", "a.h5", "-k", "3", "-o", "b.npy", cwd=tmp_path)[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), 3 * values)


def test_arrays_in_memory_and_from_a_pipe_are_read_too(tmp_path: Path) -> None:
    fp = io.BytesIO()
    with h5py.File(fp, "w") as file:
        file["x"] = np.arange(12).reshape(3, 4)
    data = fp.getvalue()
    source = registry.open_source(fp, registry.by_name("hdf5"), ReadOptions())
    assert source.read(((1, 2), (2, 4))).tolist() == [[6, 7]]
    source.close()
    words = ("filter", "-", "-k", "2", "--format", "nc")
    done = shell.convcli(*words, stdin=data, cwd=tmp_path)
    with h5netcdf.File(io.BytesIO(done.stdout), "r") as file:
        np.testing.assert_array_equal(file["x"][...], 2 * np.arange(12).reshape(3, 4))


def test_the_memory_that_is_stated_is_what_it_takes(tmp_path: Path) -> None:
    """That of the process that reads too, and of the chunks that are packed when they are full."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("v", (120, 400, 400), "f4", chunks=(13, 38, 38), compression="gzip")
        made[...] = np.random.default_rng(1).integers(0, 9, made.shape)
    words = ("filter", "a.h5", "-k", "box:3", "--axes", "ZYX", "-o", "b.h5")
    alone = [sys.executable, "-m", "convcli", *words]
    plan = subprocess.run(
        [*alone, "--dry-run", "-v"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    stated = float(re.search(r"about (\d+) MB of memory", plan)[1])  # type: ignore[index]
    with subprocess.Popen([*alone, "-q"], cwd=tmp_path, stdout=subprocess.DEVNULL) as child:
        most = 0.0
        while child.poll() is None:
            most = max(most, sum(map(taken, family(child.pid))))
            time.sleep(0.01)
    assert 0.6 * stated < most < 1.1 * stated


def family(process: int) -> list[int]:
    with suppress(OSError):
        tasks = Path(f"/proc/{process}/task").glob("*/children")
        return [
            process,
            *(one for task in tasks for child in task.read_text().split() for one in family(int(child))),
        ]
    return []


def taken(process: int) -> float:
    """Return the megabytes that a process has for itself, none of one that has ended."""
    with suppress(OSError):
        found = re.findall(r"RssAnon:\s*(\d+)", Path(f"/proc/{process}/status").read_text())
        return sum(map(int, found)) * 1024 / 1e6
    return 0.0


@pytest.mark.parametrize("names", ["", "zyx"])
def test_a_volume_is_filtered_in_three_dimensions_and_a_line_says_so(names: str, tmp_path: Path) -> None:
    """As the other volumes; filtered once more, the result is one too."""
    values = RANDOM.normal(size=(6, 7, 8))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        array = file.create_dataset("scan", data=values)
        for index, name in enumerate(names):
            array.dims[index].label = name
    for source, made in (("a.h5", "b.h5"), ("b.h5", "c.h5")):
        code, _, said = convcli("filter", source, "-k", "box:3", "-o", made, cwd=tmp_path)
        assert (code, "3-D on this volume (z,y,x)" in said) == (0, True)
        values = ndimage.uniform_filter(values, 3, mode="nearest")
        with h5py.File(tmp_path / made) as file:
            np.testing.assert_allclose(file["scan"], values, atol=1e-12)


def test_attributes_of_groups_are_kept_or_said(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/scan/data"] = RANDOM.normal(0, 1, (7, 9))
        for group, title in ((file, "all"), (file["entry"], "first"), (file["entry/scan"], "second")):
            group.attrs["title"] = title
    for name, titles in (("b.h5", ("all", "first", "second")), ("c.h5::/entry/smooth", ("all", "first"))):
        code, _, said = convcli("filter", "a.h5", "-k", "box:3", "-o", name, cwd=tmp_path)
        lost = "note: left out: the attributes of /entry/scan, where the result does not lie\n"
        assert (code, said) == (0, lost * (len(titles) < 3))
        with h5py.File(tmp_path / name.partition("::")[0]) as file:
            groups = [file, file["entry"], file["entry"].get("scan")]
            assert tuple(group.attrs["title"] for group in groups if group is not None) == titles
    assert convcli("filter", "a.h5", "-k", "box:3", "-o", "d.zarr", cwd=tmp_path)[0] == 0


def test_attributes_of_nothing_and_of_rare_numbers_stop_no_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        array = file.create_dataset("scan", data=np.ones((4, 5)))
        for owner in (array, file):
            owner.attrs.create("TITLE", h5py.Empty("S1"))
            owner.attrs["wide"] = np.longdouble(1)
            owner.attrs["none"] = h5py.Empty("f4")
            owner.attrs["kept"] = "as it is"
        file.attrs["root"] = h5py.Empty("f4")
    code, _, said = convcli("filter", "a.h5", "-k", "box:3", "-o", "b.h5", cwd=tmp_path)
    assert code == 0 and said.count("\n") == 1 and "TITLE, none, wide and 1 more" in said
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_allclose(file["scan"], 1)
        assert file["scan"].attrs["kept"] == file.attrs["kept"] == "as it is"


@pytest.mark.parametrize("name", ["h5py", "h5netcdf"])
def test_the_package_that_is_missing_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To write takes both, one of which imports without the other."""
    from convcli.media.stores import hdf5_library

    found = hdf5_library.find_spec
    monkeypatch.setattr(hdf5_library, "find_spec", lambda one: None if one == name else found(one))
    with (tmp_path / "a.h5").open("wb") as fp, pytest.raises(ConvError) as told:
        registry.open_sink(fp, registry.by_name("hdf5"), Info.of("YX", (3, 4), "float32"), WriteOptions())
    assert str(told.value) == f'HDF5 and NetCDF need the package {name}: pip install "convcli[store]"'
