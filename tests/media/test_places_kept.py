"""What maps, scans and stores carry is in the result, or in a note; readers are the formats' own libraries."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import h5netcdf
import h5py
import nibabel
import nrrd
import numpy as np
import pytest
import rasterio
import tifffile
import zarr

from convcli.cli.program import run
from tests.carriers import holds

VALUES = np.random.default_rng(2).normal(100, 9, (12, 16)).astype(np.float32)
RESULTS = ("tif", "ome.tif", "png", "npy", "nii", "nrrd", "mha", "zarr", "h5", "nc", "csv", "parquet")
_MM = {"mm": 1, "millimeter": 1, "m": 1e3, "meter": 1e3, "um": 1e-3, "µm": 1e-3, "micrometer": 1e-3}
Facts = dict[str, object]


def map_of(path: Path) -> None:
    form = {"width": 16, "height": 12, "count": 1, "dtype": "float32", "driver": "GTiff", "nodata": -9999}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(30, 0, 5e5, 0, -20, 4.6e6)}
    with rasterio.open(path, "w", **form, **place) as file:
        file.write(VALUES, 1)


def scan(path: Path) -> None:
    made = nibabel.Nifti1Image(VALUES.T, np.diag([30.0, 20, 1, 1]))
    made.header["descrip"] = b"hello"
    made.header.set_xyzt_units("mm")
    nibabel.save(made, path)


def raster(path: Path) -> None:
    nrrd.write(str(path), VALUES.T, {"spacings": [30.0, 20.0], "units": ["mm", "mm"], "remark": "hello"})


def pyramid(path: Path) -> None:
    group = zarr.create_group(path, zarr_format=3)
    group.create_array("0", shape=VALUES.shape, chunks=(5, 6), dtype="f4", dimension_names=("y", "x"))[:] = (
        VALUES
    )
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scales = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [20.0, 30.0]}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": scales}]}


def plane(path: Path) -> None:
    array = zarr.create_array(path, shape=VALUES.shape, chunks=(5, 6), dtype="f4", dimension_names=("y", "x"))
    array[:], array.attrs["remark"] = VALUES, "hello"


def grid(path: Path) -> None:
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"y": 12, "x": 16}
        data = file.create_variable("data", ("y", "x"), "f4", data=VALUES)
        data.attrs["remark"] = "hello"
        for name, step in ("x", 30.0), ("y", 20.0):
            places = file.create_variable(
                name, (name,), "f8", data=step * np.arange(file.dimensions[name].size)
            )
            places.attrs["units"] = "m"


def seen(path: Path) -> Facts:
    """Return the spacing of a result along x and y in millimetres, and what else it says."""
    suffix = "".join(path.suffixes)
    if suffix == ".ome.tif":
        with tifffile.TiffFile(path) as file:
            (pixels,) = ElementTree.fromstring(file.ome_metadata or "").findall(".//{*}Pixels")
        found = [
            (pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XY"
        ]
        with rasterio.open(path) as file:
            place, crs = file.transform, file.crs
        spacing = [float(size) * _MM[unit] for size, unit in found if size]
        return {"spacing": [1e3 * place.a, -1e3 * place.e] if crs else spacing, "crs": crs and crs.to_epsg()}
    if suffix == ".tif":
        with rasterio.open(path) as file:
            unit = _MM[file.tags().get("UNIT_X", "m")]
            spacing = [unit * abs(file.transform.a), unit * abs(file.transform.e)] * (
                not file.transform.is_identity
            )
            return {"spacing": spacing, "crs": file.crs and file.crs.to_epsg(), "nodata": file.nodata}
    if suffix == ".nii":
        header = nibabel.load(path).header
        return {"spacing": header.get_zooms()[:2], "remark": header["descrip"].item().decode()}
    if suffix == ".nrrd":
        header = nrrd.read_header(str(path))
        units = header.get("units") or header.get("space units") or ["mm"] * 3
        ways = header.get("space directions", np.diag(header.get("spacings", [])))
        sizes = np.linalg.norm(ways[~np.isnan(ways).any(axis=1)], axis=1)
        spacing = [size * _MM[unit] for size, unit in zip(sizes, units, strict=False)][:2]
        return {"spacing": spacing, "remark": header.get("remark")}
    if suffix == ".mha":
        text = re.search(rb"ElementSpacing = (\S+) (\S+)", path.read_bytes())
        return {"spacing": [float(one) for one in text.groups()] if text else []}
    if suffix == ".zarr":
        node = zarr.open(path, mode="r")
        attributes = dict(node.attrs)
        facts: Facts = {"remark": attributes.get("remark")}
        if isinstance(node, zarr.Group) and "x" in node:  # coordinates, as in NetCDF
            units = [_MM[node[name].attrs["units"]] for name in "xy"]
            facts["spacing"] = [
                abs(node[name][1] - node[name][0]) * unit for name, unit in zip("xy", units, strict=True)
            ]
            facts["remark"] = node["data"].attrs.get("remark")
        for level in attributes.get("ome", {}).get("multiscales", []):
            scale = level["datasets"][0]["coordinateTransformations"][0]["scale"]
            units = [_MM[axis["unit"]] for axis in level["axes"]]
            facts["spacing"] = [abs(size) * unit for size, unit in zip(scale, units, strict=True)][::-1]
        return facts
    if suffix in (".h5", ".nc"):
        with h5py.File(path) as file:
            scales = [file[name] for name in "xy" if "units" in file[name].attrs]
            spacing = [abs(one[1] - one[0]) * _MM[str(one.attrs["units"])] for one in scales]
            return {"spacing": spacing, "remark": file["data"].attrs.get("remark")}
    return {}


def apart(x: float, y: float) -> Callable[[Facts], bool]:
    return lambda facts: np.allclose(facts.get("spacing") or [0, 0], [x, y], rtol=1e-6)


Row = tuple[str, dict[str, tuple[Callable[[Path], None], Callable[[Facts], bool]]]]
PLACES = "positions|georeference|affine|resolution"
CARRIED: dict[str, Row] = {  # the words of a note, and for each input who makes it and whether a result has it
    "distances of the samples": (PLACES, {
        "tif": (map_of, apart(3e4, 2e4)), "nii": (scan, apart(30, 20)), "nrrd": (raster, apart(30, 20)),
        "ome.zarr": (pyramid, apart(0.03, 0.02)), "nc": (grid, apart(3e4, 2e4))}),
    "system of coordinates": ("georeference", {"tif": (map_of, lambda facts: facts.get("crs") == 32633)}),
    "remarks of the header": ("header|attributes", {
        "nii": (scan, lambda facts: facts.get("remark") == "hello"),
        "nrrd": (raster, lambda facts: facts.get("remark") == "hello"),
        "zarr": (plane, lambda facts: facts.get("remark") == "hello"),
        "nc": (grid, lambda facts: facts.get("remark") == "hello")}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("carrier", CARRIED)
def test_what_maps_scans_and_stores_carry(
    carrier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, inputs = CARRIED[carrier]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("nibabel"), "level", logging.CRITICAL)
    for kind, (make, held) in inputs.items():
        make(Path(f"in.{kind}"))
        for result in RESULTS:
            name = f"{kind.replace('.', '_')}.{result}"
            code = run(["filter", f"in.{kind}", "-k", "1", "--range", "float", "-o", name])
            said = capsys.readouterr().err
            if code:
                assert re.fullmatch("error: .*\n", said), (kind, result)
                holds("Maps, scans, stores", carrier, result, "refused")
                continue
            there = held(seen(Path(name)))
            left = bool(re.search(words, said))  # a place or its axes may be, and distances not
            assert there != left or (there and words == PLACES), (kind, result, said)
            holds("Maps, scans, stores", carrier, result, "kept" if there else "said")
