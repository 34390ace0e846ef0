"""``convcli filter`` from the shell: names, pipelines, tables, metadata, banks, reports."""

from __future__ import annotations

import io
import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from convcli.pixels.ranges import POLICIES
from tests.shell import SAMPLES, convcli, ok

HOUSE = SAMPLES / "house.png"


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def close_to_rounded(got: np.ndarray, want: np.ndarray) -> None:
    """8-bit results equal the rounded float64 ones, but for values within 1e-3 of a half."""
    near_half = np.abs(want - np.floor(want) - 0.5) < 1e-3
    assert np.abs(got - np.clip(np.rint(want), 0, 255))[~near_half].max() == 0
    assert np.abs(got - np.clip(want, 0, 255)).max() <= 0.502


def test_default_name_and_what_is_printed(tmp_path: Path) -> None:
    done = ok("filter", HOUSE, "-k", "gaussian:sigma=2", "-k", "sobel", cwd=tmp_path)
    assert done.stdout == b"house.gaussian-sigma=2+sobel.png\n"
    assert [path.name for path in tmp_path.iterdir()] == ["house.gaussian-sigma=2+sobel.png"]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_8_bit_results_are_the_rounded_exact_ones(engine: str, tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    ok("filter", HOUSE, "-k", "gaussian:sigma=1.5", "-o", target, "--engine", engine)
    sigmas = {"sigma": (1.5, 1.5, 0), "mode": "nearest", "radius": (6, 6, 0)}
    close_to_rounded(pixels(target), ndimage.gaussian_filter(pixels(HOUSE).astype(float), **sigmas))


def test_a_pipeline_keeps_the_format(tmp_path: Path) -> None:
    first = ok("filter", "-", "-k", "gaussian:sigma=2", stdin=HOUSE.read_bytes()).stdout
    assert first.startswith(b"\x89PNG")
    ok("filter", "-", "-k", "sobel", "-o", tmp_path / "e.png", stdin=first)
    blurred = np.asarray(Image.open(io.BytesIO(first))).astype(float)
    planes = [blurred[..., c] for c in range(3)]
    steps = [[ndimage.sobel(plane, axis, mode="nearest") for axis in (0, 1)] for plane in planes]
    want = np.stack([np.hypot(*step) / 2 for step in steps], axis=-1).clip(0, 255)
    close_to_rounded(pixels(tmp_path / "e.png"), want)


def test_weights_that_nearly_add_up_to_1_are_named(tmp_path: Path) -> None:
    """Smoothing kernels alone, and none that is scaled."""
    table = tmp_path / "a.csv"
    table.write_text("v\n1\n2\n4\n8\n")
    for kernel, level in (("smooth3", "99 %"), ("0.35,0.35,0.35", "105 %"), ("1/3,1/3,0.333", "99.97 %")):
        assert (
            f"so {level} of the level is left" in ok("filter", table, "-k", kernel, "-o", "-").stderr.decode()
        )
    for options in (
        ("mean3",),
        ("0.333333,0.333333,0.333333",),
        ("-1,2,0.01",),
        ("1,1",),
        ("smooth3", "--scale", "2"),
    ):
        assert b"of the level" not in ok("filter", table, "-k", *options, "-o", "-").stderr


def test_a_pipeline_of_tiffs(tmp_path: Path) -> None:
    first = ok("filter", "-", "-k", "box:3", "--format", "tiff", stdin=HOUSE.read_bytes()).stdout
    second = ok("filter", "-", "-k", "identity", stdin=first).stdout
    ok("filter", HOUSE, "-k", "box:3", "-o", tmp_path / "want.png")
    for data in (first, second):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels(tmp_path / "want.png"))


def test_format_names_the_output_of_a_pipe() -> None:
    out = ok("filter", "-", "-k", "smooth3", "--format", "npy", stdin=b"v\n1\n2\n4\n").stdout
    assert np.load(io.BytesIO(out)).shape == (3,)


def test_a_pipeline_of_arrays() -> None:
    data = np.random.default_rng(0).normal(size=(9, 7))
    file = io.BytesIO()
    np.save(file, data)
    out = ok("filter", "-", "-k", "1,0,-2;0,3,0", stdin=file.getvalue()).stdout
    want = ndimage.correlate(data, [[1, 0, -2], [0, 3, 0]], mode="nearest", origin=(-1, 0))
    np.testing.assert_allclose(np.load(io.BytesIO(out)), want, rtol=0, atol=1e-14)


def test_a_table_keeps_its_time_at_the_origin_of_the_kernel() -> None:
    text = "time,a,name,b\n" + "".join(f"{t / 10},{t * t},row {t},{-t}\n" for t in range(9))
    done = ok("filter", "-", "-k", "1,2,4,8", "--padding", "valid", "--stride", "2", stdin=text.encode())
    rows = done.stdout.decode().split("\n")
    assert rows[0] == "time,a,name,b"
    a = [sum(w * (s + i) ** 2 for i, w in enumerate((1, 2, 4, 8))) for s in (0, 2, 4)]
    b = [-sum(w * (s + i) for i, w in enumerate((1, 2, 4, 8))) for s in (0, 2, 4)]
    want = [f"{(s + 1) / 10},{float(a[i])},row {s + 1},{float(b[i])}" for i, s in enumerate((0, 2, 4))]
    assert rows[1:4] == want
    assert b"a" in done.stderr
    assert b"b" in done.stderr


def test_numbers_in_tables_read_back_the_same() -> None:
    values = np.random.default_rng(2).normal(size=50) * 10.0 ** np.random.default_rng(3).integers(
        -200, 200, 50
    )
    text = "v\n" + "".join(f"{v!r}\n" for v in values.tolist())
    out = ok("filter", "-", "-k", "identity", stdin=text.encode()).stdout.decode().split()
    assert [float(cell) for cell in out[1:]] == values.tolist()


def test_transposed_drops_other_columns_and_says_so() -> None:
    done = ok("filter", "-", "-k", "1,2", "--transpose", "--stride", "2", stdin=b"t,a,b\n0,1,5\n1,2,6\n")
    assert done.stdout == b"a,b\n1.0,5.0\n2.0,10.0\n2.0,6.0\n4.0,12.0\n"
    assert b"t" in done.stderr


def test_columns_can_be_picked() -> None:
    done = ok("filter", "-", "-k", "1,1,1", "--columns", "b", stdin=b"t,a,b\n0,1,5\n1,2,6\n2,3,7\n")
    assert done.stdout == b"t,a,b\n0,1,16.0\n1,2,18.0\n2,3,20.0\n"


def test_a_lone_rising_column_is_no_time_axis() -> None:
    assert ok("filter", "-", "-k", "1,1,1", stdin=b"1\n2\n4\n").stdout == b"4.0\n7.0\n10.0\n"


def test_a_bank_gives_one_file_a_map(tmp_path: Path) -> None:
    np.save(tmp_path / "bank.npy", np.random.default_rng(0).normal(size=(2, 3, 3, 3)))
    done = ok("filter", HOUSE, "-k", "bank.npy", "--range", "minmax", cwd=tmp_path)
    assert done.stdout == b"house.bank.0.png\nhouse.bank.1.png\n"
    assert pixels(tmp_path / "house.bank.0.png").shape == (240, 320)
    tiff = ok("filter", HOUSE, "-k", "bank.npy", "--range", "minmax", "-o", "maps.tiff", cwd=tmp_path)
    assert tiff.stdout == b"maps.tiff\n"
    with Image.open(tmp_path / "maps.tiff") as pages:
        assert pages.n_frames == 2
        np.testing.assert_array_equal(np.asarray(pages), pixels(tmp_path / "house.bank.0.png"))
        pages.seek(1)
        np.testing.assert_array_equal(np.asarray(pages), pixels(tmp_path / "house.bank.1.png"))
    ok("filter", HOUSE, "-k", "bank.npy", "-o", "maps.npy", cwd=tmp_path)
    assert np.load(tmp_path / "maps.npy").shape == (240, 320, 2)  # in the place of the channels


def test_transparent_pixels_do_not_bleed(tmp_path: Path) -> None:
    picture = np.zeros((20, 20, 4), np.uint8)
    picture[:, :10] = (255, 0, 0, 255)
    picture[:, 10:] = (0, 255, 0, 0)  # invisible green
    Image.fromarray(picture).save(tmp_path / "a.png")
    ok("filter", "a.png", "-k", "box:5", cwd=tmp_path)
    got = pixels(tmp_path / "a.box-5.png")
    assert got.shape == picture.shape
    visible = got[..., 3] > 0
    assert (got[visible][:, :3] == (255, 0, 0)).all()
    want = ndimage.uniform_filter(picture[..., 3].astype(float), 5, mode="nearest")
    close_to_rounded(got[..., 3], want)


@pytest.mark.parametrize("policy", [policy.example for policy in POLICIES if not policy.keeps_numbers])
def test_alpha_passes_through_signed_kernels(tmp_path: Path, policy: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 9, 4), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    ok("filter", "a.png", "-k", "hedge", "--range", policy, "--stride", "2", "-q", cwd=tmp_path)
    np.testing.assert_array_equal(pixels(tmp_path / "a.hedge.png")[..., 3], picture[::2, ::2, 3])


def test_percentiles_stretch_what_outliers_would_spoil(tmp_path: Path) -> None:
    """One range for all channels; through a pipe as well."""
    picture = np.random.default_rng(0).integers(90, 120, (40, 50, 3), dtype=np.uint8)
    picture[3, 4], picture[20, 30] = 255, 0
    Image.fromarray(picture).save(tmp_path / "a.png")
    words = ("-k", "1,0,-2;0,3,0", "--range", "percentile:1:99.5", "--padding", "valid")
    done = ok("filter", "a.png", *words, "-o", "b.png", cwd=tmp_path)
    kernel = np.array([[1, 0, -2], [0, 3, 0]])[..., None]
    values = ndimage.correlate(picture.astype(float), kernel)[1:, 1:-1]
    low, high = np.percentile(values, [1, 99.5])
    assert high - low < np.ptp(values) / 4
    close_to_rounded(pixels(tmp_path / "b.png"), (values - low) / (high - low) * 255)
    assert b"clipped by --range percentile:1:99.5; that is what percentiles do" in done.stderr
    piped = ok("filter", "-", *words, stdin=(tmp_path / "a.png").read_bytes())
    assert piped.stdout == (tmp_path / "b.png").read_bytes()


def test_16_bit_colour_stays_16_bit(tmp_path: Path) -> None:
    import imagecodecs

    picture = np.random.default_rng(0).integers(0, 65536, (15, 12, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(picture))
    ok("filter", "a.png", "-k", "1,2,1;0,3,1", "-k", "1/8", "-o", "b.png", cwd=tmp_path)
    got = imagecodecs.png_decode((tmp_path / "b.png").read_bytes())
    want = ndimage.correlate(
        picture / 8, np.array([[1, 2, 1], [0, 3, 1.0]])[..., None], mode="nearest", origin=(-1, 0, 0)
    )
    assert got.dtype == np.uint16
    assert np.abs(got - np.rint(want)).max() <= 1
    assert (got == np.rint(want)).mean() > 0.99


def test_profile_resolution_and_orientation(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    exif[0x010F] = "maker"
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.jpg", quality=95, dpi=(200, 300), icc_profile=profile, exif=exif)
    for name in ("b.jpg", "b.png", "b.tiff", "b.webp"):
        ok("filter", "a.jpg", "-k", "identity", "-o", name, cwd=tmp_path)
        with Image.open(tmp_path / name) as image:
            assert image.size == (8, 16), name
            assert image.info["icc_profile"] == profile, name
            assert image.getexif().get(0x0112, 1) == 1, name
            if name != "b.webp":
                assert [round(float(v)) for v in image.info["dpi"]] in ([300, 200], [200, 300]), name


@pytest.mark.parametrize(
    ("mode", "result"), [("1", "L"), ("L", "L"), ("LA", "LA"), ("P", "RGB"), ("RGBA", "RGBA")]
)
def test_picture_modes(mode: str, result: str, tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)).convert(
        mode
    )
    picture.save(tmp_path / "a.png")
    ok("filter", "a.png", "-k", "identity", "-o", "b.png", cwd=tmp_path)
    with Image.open(tmp_path / "b.png") as image:
        assert image.mode == result
        np.testing.assert_array_equal(np.asarray(image), np.asarray(picture.convert(result)))


def test_cmyk_stays_cmyk(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8), "CMYK")
    picture.save(tmp_path / "a.tiff")
    ok("filter", "a.tiff", "-k", "identity", "-o", "b.tiff", cwd=tmp_path)
    with Image.open(tmp_path / "b.tiff") as image:
        assert image.mode == "CMYK"
        np.testing.assert_array_equal(np.asarray(image), np.asarray(picture))
    for more in ((), ("--dry-run",)):
        done = convcli("filter", "a.tiff", "-k", "identity", "-o", "b.png", *more, cwd=tmp_path)
        assert done.returncode == 2
        assert b"CMYK" in done.stderr


def test_an_animation_keeps_its_frames(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = [Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[50, 70, 90], loop=0)
    ok("filter", "a.gif", "-k", "box:3", "-o", "one.png", cwd=tmp_path)
    assert pixels(tmp_path / "one.png").shape == (20, 30, 3)
    done = ok("filter", "a.gif", "-k", "box:3", "--frames", "all", cwd=tmp_path)
    assert b"colours" in done.stderr
    with Image.open(tmp_path / "a.box-3.gif") as image:
        assert image.n_frames == 3


def test_json_report(tmp_path: Path) -> None:
    done = ok("filter", HOUSE, "-k", "hedge", "--json", cwd=tmp_path)
    facts = json.loads(done.stdout)
    assert facts["outputs"] == ["house.hedge.png"]
    assert facts["shape"] == [240, 320, 3]
    assert facts["range"] == "offset:2"
    assert facts["engine"] == "numpy"
    assert 0 < facts["clipped"] < facts["values"] == 240 * 320 * 3


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    done = ok("filter", HOUSE, "-k", "hedge", "--stride", "2", "--dry-run", cwd=tmp_path)
    assert b"120x160x3" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_plan_explains_the_choice_and_writes_nothing(tmp_path: Path) -> None:
    lines = (
        ok("filter", HOUSE, "-k", "gaussian:sigma=3", "--dry-run", "-v", cwd=tmp_path)
        .stdout.decode()
        .splitlines()
    )
    assert "numpy" in lines[1]
    assert any(line.startswith("rejected: torch") for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_clipping_is_reported_once_and_not_when_quiet(tmp_path: Path) -> None:
    done = ok("filter", HOUSE, "-k", "sharpen", cwd=tmp_path)
    assert done.stderr.count(b"clipped") == 1
    assert ok("filter", HOUSE, "-k", "sharpen", "-q", "-y", cwd=tmp_path).stderr == b""


def test_force_replaces_even_the_input(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(HOUSE.read_bytes())
    ok("filter", "a.png", "-k", "identity", "-o", "a.png", "-y", cwd=tmp_path)
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), pixels(HOUSE))


def test_rank_one_along_another_axis(tmp_path: Path) -> None:
    ok("filter", HOUSE, "-k", "1,2,4", "--axis", "y", "-o", "a.npy", cwd=tmp_path)
    want = ndimage.correlate1d(pixels(HOUSE).astype(float), [1, 2, 4], axis=0, mode="nearest")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), want)


def test_inline_frames_are_a_kernel_in_time(tmp_path: Path) -> None:
    clip = np.random.default_rng(0).normal(size=(5, 6, 7))
    np.save(tmp_path / "a.npy", clip)
    ok("filter", "a.npy", "--axes", "TYX", "-k", "-1|1", "-o", "b.npy", cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "b.npy"), np.diff(clip, axis=0), rtol=0, atol=1e-14)


def test_yaml_defaults_hold_and_the_command_line_wins(tmp_path: Path) -> None:
    (tmp_path / "half.yaml").write_text("weights: [[1, 0], [0, 2]]\nstride: 2\npadding: valid\nbias: 1\n")
    data = np.arange(30.0).reshape(5, 6)
    np.save(tmp_path / "a.npy", data)
    ok("filter", "a.npy", "-k", "half.yaml", "-o", "b.npy", cwd=tmp_path)
    want = data[:-1, :-1] + 2 * data[1:, 1:] + 1
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), want[::2, ::2])
    ok("filter", "a.npy", "-k", "half.yaml", "--stride", "1", "-o", "c.npy", cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "c.npy"), want)


def test_two_inputs_never_share_an_output(tmp_path: Path) -> None:
    """Found before any work, by names or by the first bytes."""
    for folder in ("a", "b", "out"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate(("a/x.png", "b/x.png", "a/y", "b/y")):
        Image.new("L", (4, 3), 40 * number).save(tmp_path / name, "PNG")
    done = convcli("filter", "a/x.png", "a/x.png", "-k", "1", "--out-dir", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, b"error: 'a/x.png': it is named twice\n")
    for more in ((), ("-y",), ("--dry-run",)):
        done = convcli("filter", "a/x.png", "b/x.png", "-k", "1", "--out-dir", "out", *more, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith(b"error: 'b/x.png': its output has the name of that of 'a/x.png'")
        assert list((tmp_path / "out").iterdir()) == []
    done = convcli("filter", "a/y", "b/y", "-k", "1", "--out-dir", "out", "-y", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: 'b/y': its output has the name of that of 'a/y'")
    assert list((tmp_path / "out").iterdir()) == []
    done = convcli("filter", "a/x.png", "b/y", "-k", "1", "--out-dir", "out", "-y", cwd=tmp_path)
    assert done.returncode == 0


SHARED = [("f%d.png", "f%d.png"), ("f%02d.png", "f%d.png"), ("*.png", "*.png"), ("f%d.png", "f12.png")]


def test_numbered_outputs_share_no_file(tmp_path: Path) -> None:
    for folder in ("a", "b", "out"):
        (tmp_path / folder).mkdir()
    for folder, number in product("ab", (11, 12)):
        Image.new("L", (4, 3), number).save(tmp_path / folder / f"f{number}.png")
    named = [(f"a/{one}", f"b/{other}") for one, other in SHARED]
    for pair in [*named, named[-1][::-1], ("-", "-")]:
        for more in ("-y", "--dry-run"):
            words = ("filter", *pair, "-k", "1", "--out-dir", "out", more)
            done = convcli(*words, stdin=(tmp_path / "a/f11.png").read_bytes(), cwd=tmp_path)
            assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), pair
            assert list((tmp_path / "out").iterdir()) == []
    for pair in (("a/*.png", "b/f12.png"), ("a/f%d.png", "b/g.png")):
        shutil.copy(tmp_path / "b/f12.png", tmp_path / "b/g.png")
        ok("filter", *pair, "-k", "1", "--out-dir", "out", "-y", cwd=tmp_path)
        assert len([*(tmp_path / "out").iterdir()]) == 3
        shutil.rmtree(tmp_path / "out")
        (tmp_path / "out").mkdir()
