"""``filter --region``: inside is what scipy computes of the whole, outside what was there, in every kind of file."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw, ImageSequence
from scipy import ndimage

import convcli
from convcli.common import UsageError
from tests.clips import make
from tests.shell import convcli as shell
from tests.shell import ok

WEIGHTS = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 9]])
KERNEL = ("-k", "0,1,2;3,4,5;6,7,9", "--scale", "1/37")
REGIONS = ("--region", "3,4,10,7", "--region", "20,2 33,9 22,19", "--region", "mask.png")
HEIGHT, WIDTH = 24, 40


def marked(place: Path) -> np.ndarray:
    """Return what the regions hold, drawn by hand and by Pillow, and write the mask among them."""
    picture = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(picture).ellipse((25, 12, 38, 22), fill=255)
    picture.save(place / "mask.png")
    inside = np.asarray(picture) > 0
    inside[4:11, 3:13] = True
    large = Image.new("1", (WIDTH * 64, HEIGHT * 64))  # centres of pixels are corners of this one's
    ImageDraw.Draw(large).polygon([(20 * 64, 2 * 64), (33 * 64, 9 * 64), (22 * 64, 19 * 64)], fill=1)
    return inside | np.asarray(large)[32::64, 32::64]


def filtered(plane: np.ndarray) -> np.ndarray:
    """Return the correlation of a plane of integers by scipy, half to even."""
    whole = ndimage.correlate(plane.astype(np.int64), WEIGHTS, mode="nearest")
    return np.rint(whole / 37).astype(plane.dtype)


def expected(array: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return planes (…, Y, X), each filtered inside."""
    planes = array.reshape(-1, HEIGHT, WIDTH)
    return np.stack([np.where(inside, filtered(plane), plane) for plane in planes]).reshape(array.shape)


def noise(*shape: int, dtype: str = "uint8", seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape).astype(dtype)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("kind", ["grey", "rgb", "deep", "npy", "volume", "stack", "clip"])
def test_inside_is_filtered_and_the_rest_is_what_it_was(kind: str, engine: str, tmp_path: Path) -> None:
    inside = marked(tmp_path)
    count = {"rgb": 3, "grey": 1, "deep": 1}.get(kind, 4)
    planes = noise(count, HEIGHT, WIDTH, dtype="uint16" if kind == "deep" else "uint8")
    name = {"npy": "npy", "volume": "nii", "stack": "tif", "clip": "mkv"}.get(kind, "png")
    given, made = tmp_path / f"a.{name}", tmp_path / f"b.{name}"
    more = {"npy": ("--axes", "CYX", "--range", "clip"), "volume": ("--axis", "yx")}.get(kind, ())
    if kind == "npy":
        np.save(given, planes)
    elif kind == "volume":
        nibabel.Nifti1Image(planes.transpose(2, 1, 0), np.eye(4)).to_filename(given)
        more = ("--range", "clip")
    elif kind == "stack":
        tifffile.imwrite(given, planes, photometric="minisblack")
    elif kind == "clip":
        make(given, planes, codec="ffv1", pixels="gray")
    else:
        Image.fromarray(np.moveaxis(planes, 0, -1).squeeze()).save(given)
    done = ok("filter", given, *KERNEL, *REGIONS, "-o", made, "--engine", engine, *more, cwd=tmp_path)
    assert b"clipped" not in done.stderr
    if kind == "npy":
        got = np.load(made)
    elif kind == "volume":
        got = np.asarray(nibabel.Nifti1Image.from_filename(made).dataobj).transpose(2, 1, 0)
    elif kind == "stack":
        got = tifffile.imread(made)
    elif kind == "clip":
        import imageio.v3 as iio

        got = iio.imread(made, plugin="pyav", format="gray")
    else:
        with Image.open(made) as image:
            got = np.atleast_3d(np.asarray(image))
        got = np.moveaxis(got, -1, 0)
    np.testing.assert_array_equal(got, expected(planes, inside))


def test_transparency_stays_outside_too(tmp_path: Path) -> None:
    """Colours that nobody sees stay as well; inside they are averaged by coverage, as without a region."""
    inside, pixels = marked(tmp_path), noise(HEIGHT, WIDTH, 4)
    pixels[:6, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    ok("filter", "a.png", "-k", "box:3", "-o", "whole.png", cwd=tmp_path)
    ok("filter", "a.png", "-k", "box:3", *REGIONS, "-o", "b.png", cwd=tmp_path)
    whole = np.asarray(Image.open(tmp_path / "whole.png"))
    got = np.asarray(Image.open(tmp_path / "b.png"))
    np.testing.assert_array_equal(got, np.where(inside[..., None], whole, pixels))
    coverage = ndimage.uniform_filter(pixels[..., 3].astype(float), 3, mode="nearest")
    np.testing.assert_allclose(got[..., 3][inside], coverage[inside], atol=0.51)


def test_every_frame_of_an_animation(tmp_path: Path) -> None:
    inside, frames = marked(tmp_path), noise(3, HEIGHT, WIDTH) // 64 * 85
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=80)
    ok("filter", "a.gif", "--frames", "all", *KERNEL, *REGIONS, "-o", "b.gif", cwd=tmp_path)
    with Image.open(tmp_path / "b.gif") as image:
        got = np.stack([np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(image)])
    np.testing.assert_array_equal(got, expected(frames, inside))


def test_boxes_workers_and_python_give_the_same_bits(tmp_path: Path) -> None:
    inside, array = marked(tmp_path), noise(HEIGHT, WIDTH, dtype="uint16").astype(np.float32) / 7
    np.save(tmp_path / "a.npy", array)
    kernel = ("-k", "gaussian:sigma=1.5", *REGIONS)
    ok("filter", "a.npy", *kernel, "-o", "b.npy", "--engine", "numpy", cwd=tmp_path)
    got = np.load(tmp_path / "b.npy")
    whole = convcli.filter(array, "gaussian:sigma=1.5", engine="numpy")
    np.testing.assert_array_equal(got, np.where(inside, whole, array))
    ok("filter", "a.npy", *kernel, "-o", "c.npy", "--engine", "numpy", "--workers", "2", cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "c.npy"), got)
    asked = [(3, 4, 10, 7), [(20, 2), (33, 9), (22, 19)], str(tmp_path / "mask.png")]
    np.testing.assert_array_equal(convcli.filter(array, "gaussian:sigma=1.5", region=asked), got)
    np.testing.assert_array_equal(convcli.filter(array, "gaussian:sigma=1.5", region=inside), got)
    batch = np.stack([array, array[::-1]])
    of_batch = convcli.filter(batch, "gaussian:sigma=1.5", axes="NYX", region=inside)
    np.testing.assert_array_equal(of_batch[0], got)
    assert np.array_equal(of_batch[1][~inside], batch[1][~inside])


def test_ranges_and_counts_are_of_what_lies_inside(tmp_path: Path) -> None:
    inside, pixels = marked(tmp_path), noise(HEIGHT, WIDTH)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole = ndimage.correlate(pixels.astype(np.int64), 3 * WEIGHTS, mode="nearest") / 37
    options = ("-k", "0,3,6;9,12,15;18,21,27", "--scale", "1/37", *REGIONS, "--json")
    done = ok("filter", "a.png", *options, "--range", "clip", "-o", "b.png", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert (found["values"], found["clipped"]) == (inside.sum(), (whole[inside] > 255).sum())
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "b.png")),
        np.where(inside, np.rint(whole.clip(0, 255)), pixels),
    )
    ok("filter", "a.png", *options, "--range", "minmax", "-o", "c.png", cwd=tmp_path)
    low, high = whole[inside].min(), whole[inside].max()
    stretched = np.where(inside, (whole - low) / (high - low) * 255, pixels)
    got = np.asarray(Image.open(tmp_path / "c.png"))
    np.testing.assert_allclose(got, stretched, atol=0.502)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_what_a_mask_calls_missing_stays_outside(dtype: str, tmp_path: Path) -> None:
    inside, array = marked(tmp_path), noise(HEIGHT, WIDTH).astype(dtype)
    present = noise(HEIGHT, WIDTH, seed=8) > 60
    got = convcli.filter(
        array, "box:3", mask=present, region=inside, range="clip" if dtype == "uint8" else None
    )
    sums, counts = (
        ndimage.correlate(one, np.ones((3, 3)), mode="nearest")
        for one in (np.where(present, array, 0.0), present.astype(float))
    )
    means = np.where(present, sums / np.maximum(counts, 1), 0 if dtype == "uint8" else np.nan)
    assert np.array_equal(got[~inside], array[~inside])
    np.testing.assert_allclose(got[inside], means[inside], atol=0.51 if dtype == "uint8" else 1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--stride", "2"),
            "so that stride is 1 and size, channels and type stay: YX 24x40 uint8 would become YX 12x20",
        ),
        (("--padding", "valid"), "would become YX 22x38 uint8"),
        (("--range", "float", "-o", "a.tif"), ""),
        (("-k", "x", "-o", "b.png"), "no kernel named 'x'"),
        (("--region", "0,0,41,3"), "region '0,0,41,3' lies outside the picture of 40 x 24"),
        (("--region", "1,2"), "region '1,2': give x,y,width,height"),
        (("--region", "small.png"), "region 'small.png' is a mask of 9 x 8, and the picture has 40 x 24"),
    ],
)
def test_what_cannot_be_is_one_line(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    marked(tmp_path)
    Image.new("L", (9, 8), 255).save(tmp_path / "small.png")
    Image.fromarray(noise(HEIGHT, WIDTH)).save(tmp_path / "a.png")
    done = shell("filter", "a.png", *KERNEL, "--region", "0,0,4,4", *options, cwd=tmp_path)
    if not said:
        assert done.returncode == 0 and tifffile.imread(tmp_path / "a.tif").dtype == np.float32
        return
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
    assert said in done.stderr.decode()
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "mask.png", "small.png"}


def test_signals_and_empty_areas_in_python() -> None:
    with pytest.raises(UsageError, match="--region is of pictures, and the data has the axes x"):
        convcli.filter(np.zeros(9), "box:3", region=(0, 0, 3, 3))
    with pytest.raises(UsageError, match="--region holds no pixel"):
        convcli.filter(np.zeros((9, 9)), "box:3", region=np.zeros((9, 9), bool))
    with pytest.raises(UsageError, match="would become YX 5x5 uint8"):
        convcli.filter(np.zeros((9, 9), np.uint8), "box:3", stride=2, region=(0, 0, 3, 3), range="clip")


def test_a_dry_run_says_where(tmp_path: Path) -> None:
    marked(tmp_path)
    Image.fromarray(noise(HEIGHT, WIDTH)).save(tmp_path / "a.png")
    done = ok("filter", "a.png", *KERNEL, *REGIONS, "--dry-run", cwd=tmp_path)
    assert b"only within region '3,4,10,7' and region '20,2 33,9 22,19' and region 'mask.png'" in done.stdout


def test_jpeg_says_that_it_codes_the_rest_anew(tmp_path: Path) -> None:
    Image.fromarray(noise(HEIGHT, WIDTH)).save(tmp_path / "a.jpg")
    run = ("filter", "a.jpg", *KERNEL, "--region", "0,0,4,4", "-o")
    assert b"note: JPEG codes pixels outside of --region anew too" in ok(*run, "b.jpg", cwd=tmp_path).stderr
    assert b"JPEG" not in ok(*run, "b.png", cwd=tmp_path).stderr
    assert b"JPEG" not in ok("filter", "a.jpg", *KERNEL, "-o", "c.jpg", cwd=tmp_path).stderr
