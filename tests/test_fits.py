"""FITS, a format of a package of its own (packages/convcli-fits): astropy reads what is written, scipy filters."""

from __future__ import annotations

import importlib
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy.ndimage import correlate

from convcli.common import ConvError, UsageError
from convcli.media.options import ReadOptions, WriteOptions
from tests.shell import install

PACKAGE = Path(__file__).parents[1] / "packages" / "convcli-fits"
RANDOM = np.random.default_rng(7)
SKY = RANDOM.normal(100, 9, (30, 41)).astype(np.float32)
TAPS = np.array([[1, 2, 0.5], [0, 3, 1], [1, 1, 7]])
KERNEL = "1,2,0.5;0,3,1;1,1,7"
PLACE: dict[str, Any] = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 30.0,
    "CRPIX1": 20.5,
    "CRPIX2": 15.0,
    "CUNIT1": "deg",
    "CUNIT2": "deg",
}
TURNS: dict[str, dict[str, Any]] = {
    "CDELT": {"CDELT1": -2e-4, "CDELT2": 3e-4},
    "CROTA": {"CDELT1": -2e-4, "CDELT2": 3e-4, "CROTA2": 25.0},
    "CD": {"CD1_1": -1.8e-4, "CD1_2": 5e-5, "CD2_1": 4e-5, "CD2_2": 2e-4},
    "PC": {"CDELT1": -2e-4, "CDELT2": 3e-4, "PC1_1": 0.9, "PC1_2": -0.3, "PC2_1": 0.4},
    "SIP": {
        "CTYPE1": "RA---TAN-SIP",
        "CTYPE2": "DEC--TAN-SIP",
        "CD1_1": -1.8e-4,
        "CD2_2": 2e-4,
        "A_ORDER": 2,
        "B_ORDER": 2,
        "A_2_0": 1e-4,
        "A_1_1": 2e-5,
        "B_0_2": -7e-5,
        "B_1_1": 3e-5,
    },
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the package is installed to."""
    target = tmp_path_factory.mktemp("site")
    install(PACKAGE, target)
    return target


@pytest.fixture(scope="module")
def own(site: Path) -> Any:
    """Return the package's module."""
    sys.path.append(str(site))
    yield importlib.import_module("convcli_fits")
    sys.path.remove(str(site))


def run(site: Path, folder: Path, *words: str) -> str:
    """Run a filter; return what it says on stderr."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-m", "convcli", "filter", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr


def stored(*hdus: Any) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits.HDUList([*hdus]).writeto(file)
    return file.getvalue()


def primary(values: np.ndarray, **cards: Any) -> fits.PrimaryHDU:
    hdu = fits.PrimaryHDU(values)
    hdu.header.update(cards)
    return hdu


def copied(own: Any, data: bytes) -> tuple[Any, np.ndarray, fits.PrimaryHDU]:
    """Return what is read of a file, all of it, and the image that is written of it."""
    source, made = own.FitsSource(io.BytesIO(data), ReadOptions()), io.BytesIO()
    values = source.read(source.info.box)
    sink = own.FitsSink(made, "fits", source.info, WriteOptions())
    sink.write(source.info.box, values)
    sink.close()
    return source.info, values, fits.open(io.BytesIO(made.getvalue()))[0]


@pytest.mark.parametrize("turn", TURNS)
def test_every_pixel_stays_in_its_place_on_the_sky(turn: str, site: Path, tmp_path: Path) -> None:
    cards = {**PLACE, **TURNS[turn], "OBJECT": "M31", "DATAMAX": 99.0}
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    data = stored(primary(SKY, **cards), fits.ImageHDU(SKY[:3], name="ERR"), table)
    (tmp_path / "a.fits").write_bytes(data)
    said = run(
        site, tmp_path, "a.fits", "-k", KERNEL, "--stride", "2x3", "--padding", "valid", "-o", "b.fits"
    )
    assert said == "note: left out of the FITS: HDU 1 (ERR), HDU 2, limits of values\n"
    with fits.open(tmp_path / "b.fits") as made:
        made.verify("exception")
        np.testing.assert_allclose(
            made[0].data, correlate(SKY.astype(float), TAPS)[1:-1:2, 1:-1:3], rtol=1e-5
        )
        header = made[0].header
        assert header["OBJECT"] == "M31" and "DATAMAX" not in header and "convcli" in str(header["HISTORY"])
        before, after = WCS(fits.Header(cards)), WCS(header)
    y, x = np.mgrid[:14, :13]
    want = before.pixel_to_world_values(3 * x + 1, 2 * y + 1)
    np.testing.assert_allclose(after.pixel_to_world_values(x, y), want, rtol=0, atol=1e-11)


def test_blank_samples_are_missing_and_stay_so(site: Path, tmp_path: Path) -> None:
    values = RANDOM.integers(0, 99, (9, 8)).astype(np.int16)
    values[3, 4] = -5
    (tmp_path / "a.fits").write_bytes(stored(primary(values, BLANK=-5, BUNIT="adu")))
    assert run(site, tmp_path, "a.fits", "-k", "box:3", "-o", "b.fits") == ""
    there = (values != -5).astype(float)
    sums = [correlate(one, np.ones((3, 3)), mode="nearest") for one in (values * there, there)]
    want = np.where(there, sums[0] / sums[1], np.nan)
    with fits.open(tmp_path / "b.fits") as made:
        np.testing.assert_allclose(made[0].data, want, rtol=1e-6)
        assert made[0].header["BUNIT"] == "adu" and "BLANK" not in made[0].header
    header = "note: the header of the FITS is left out: TIFF holds none\n"
    assert run(site, tmp_path, "a.fits", "-k", "box:3", "-o", "b.tif") == header


def test_kernels_count_in_the_units_of_a_cube(site: Path, tmp_path: Path) -> None:
    cube = RANDOM.normal(size=(1, 6, 5, 7)).astype(np.float32)
    cards = {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CTYPE3": "FREQ", "CTYPE4": "STOKES"}
    (tmp_path / "a.fits").write_bytes(stored(primary(cube, **cards, CRPIX3=1.0, CRVAL3=1.4e9, CDELT3=1e6)))
    run(site, tmp_path, "a.fits", "-k", "box:3MHz", "--axis", "z", "--stride", "2", "-q", "-o", "b.fits")
    with fits.open(tmp_path / "b.fits") as made:
        want = correlate(cube.astype(float), np.ones((1, 3, 1, 1)) / 3, mode="nearest")[:, ::2]
        np.testing.assert_allclose(made[0].data, want, atol=1e-6)
        assert [made[0].header[f"{key}3"] for key in ("CRVAL", "CRPIX", "CDELT")] == [1.4e9, 1.0, 2e6]


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_samples_of_every_type_stay_as_they_are(kind: str, own: Any) -> None:
    limits = np.iinfo(kind) if kind[0] != "f" else np.finfo(kind)
    values = np.array([[limits.min, 0, 1], [limits.max, 2, 3]], kind)
    info, read, made = copied(own, stored(primary(values)))
    np.testing.assert_array_equal(read, values)
    np.testing.assert_array_equal(made.data, values)
    assert info.dtype == made.data.dtype.newbyteorder("=").name == values.dtype.name


def test_scaled_and_compressed_images_are_read_as_astropy_reads_them(own: Any) -> None:
    scaled = primary(RANDOM.integers(0, 99, (3, 20, 21)).astype(np.int16))
    scaled.header.update(BSCALE=0.5, BZERO=10.0)
    file = io.BytesIO()
    scaled.writeto(file)
    for data in (file.getvalue(), stored(fits.PrimaryHDU(), fits.CompImageHDU(SKY, fits.Header(PLACE)))):
        with fits.open(io.BytesIO(data)) as opened:
            want = next(one.data for one in opened if one.data is not None)
        info, read, made = copied(own, data)
        np.testing.assert_array_equal(read, want)
        np.testing.assert_array_equal(made.data, want)
        source = own.FitsSource(io.BytesIO(data), ReadOptions())
        part = source.read(tuple((1, n) for n in want.shape))
        np.testing.assert_array_equal(part, want[(slice(1, None),) * want.ndim])
        assert info.letters == "ZYX"[-want.ndim :]


@pytest.mark.parametrize("wanted", ["ERR", "/1", "err"])
def test_any_image_of_a_file_is_read_by_its_name_or_number(wanted: str, own: Any) -> None:
    data = stored(primary(SKY), fits.ImageHDU(SKY[:3] / 9, name="ERR"))
    source = own.FitsSource(io.BytesIO(data), ReadOptions(array=wanted))
    np.testing.assert_array_equal(source.read(source.info.box), SKY[:3] / 9)
    assert source.info.notes == ("left out of the FITS: HDU 0 (PRIMARY)",)
    with pytest.raises(UsageError, match="no image ::DQ; there are ::PRIMARY, ::ERR"):
        own.FitsSource(io.BytesIO(data), ReadOptions(array="DQ"))


CARDS = (
    *("NAXIS1  =          99999999999", "NAXIS   =                   99", "NAXIS1  =                   -3"),
    *("BITPIX  =                    7", "BITPIX  =                  -64", "ZTILE1  =          99999999999"),
    *("ZNAXIS1 =          99999999999", "BZERO   =                  NaN", "CDELT1  =                  0.0"),
    *(
        "CRPIX1  = 'x'",
        "CTYPE1  = 4",
        "GROUPS  =                    T",
        "BLANK   = 1.5",
        "END",
        "CUNIT1  = 5",
    ),
    *("NAXIS   =                    T", "PCOUNT  =          99999999999", "CRPIX1  = 1E999", "CD1_1   = T"),
)


def test_damaged_files_are_refused_in_one_line(own: Any) -> None:
    """A file that is cut short, and whatever a random card, byte or cut makes of good ones."""
    compressed = stored(fits.PrimaryHDU(), fits.CompImageHDU(SKY))
    seeds = [
        stored(primary(SKY, **PLACE, **TURNS["CD"])),
        stored(primary(SKY.astype(np.int16), BLANK=-5)),
        compressed,
    ]
    with pytest.raises(ConvError, match="cut short: 4920 bytes"):
        own.FitsSource(io.BytesIO(seeds[0][:2880]), ReadOptions())
    refused = 0
    for case in range(150):
        data = bytearray(seeds[case % 3])
        match case % 5:
            case 0:
                del data[RANDOM.integers(len(data)) :]
            case 1:
                data[RANDOM.integers(len(data))] = RANDOM.integers(256)
            case _:
                card = CARDS[RANDOM.integers(len(CARDS))].ljust(80).encode()
                at = bytes(data).find(card[:8])
                at = at if at >= 0 else 80 * int(RANDOM.integers(6))
                data[at : at + 80] = card
        try:
            copied(own, bytes(data))
        except ConvError as error:
            assert "\n" not in str(error)
            refused += 1
    assert 40 < refused < 130
