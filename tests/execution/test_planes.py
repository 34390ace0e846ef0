"""Filtering the coded planes of a clip: the same as filtering its colours, and only where it is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from scipy import ndimage

from convcli.data.info import PlanarSource
from convcli.engines import get_engine
from convcli.engines.algorithms import NumpyInteger
from convcli.execution.pipeline import ahead
from convcli.media import registry
from convcli.media.clips.convert import Converter
from convcli.media.clips.decoder import Decoder
from convcli.media.options import ReadOptions
from convcli.media.timing import Clip
from convcli.pixels.render import Rendering
from tests.clips import make, pattern
from tests.shell import ok

SLANTED = np.array([[1, 2, 3, 4, 0], [0, 1, 2, 0, 1], [0, 0, 3, 0, 0]]) / 17  # no symmetry, no product
MEAN = np.full((3, 3), 1 / 9)
STEEP = np.outer([1, 2, 5], [4, 0, 3, 1]) / 64  # a product of whole numbers, of even size
Planes = list[np.ndarray]


def shapes(height: int = 64, width: int = 96) -> np.ndarray:
    """Saturated colours with hard edges, the worst that halved colour can meet."""
    frames = np.zeros((2, height, width, 3), np.uint8)
    frames[:] = (0, 0, 255)
    frames[:, 10:40, 20:51] = (255, 0, 0)
    frames[:, 20:30, 60:61] = (0, 255, 0)
    frames[1] = np.roll(frames[0], 3, axis=1)
    return frames


def planes(path: Path, index: int = 0) -> Planes:
    """Return the planes of a frame as PyAV alone gives them."""
    with av.open(str(path)) as container:
        frame = list(container.decode(video=0))[index]
    return [_samples(plane, frame.format.components[0].bits) for plane in frame.planes]


def _samples(plane: av.video.plane.VideoPlane, bits: int) -> np.ndarray:
    dtype = np.dtype("<u2" if bits > 8 else "u1")
    rows = np.frombuffer(bytes(plane), dtype).reshape(-1, plane.line_size // dtype.itemsize)
    return rows[: plane.height, : plane.width].astype(np.int64)


def by_colours(path: Path, weights: np.ndarray, mode: str) -> tuple[Planes, Planes]:
    """Filter the first frame in RGB by SciPy; return its planes, and those of the frame converted and back."""
    with path.open("rb") as fp:
        source = registry.open_source(fp, registry.by_suffix(path), ReadOptions())
        rgb = source.strip(0, 1)[0]
        clip = source.info.companions
        source.close()
    assert isinstance(clip, Clip)
    assert clip.coding is not None
    top, form = (255, "rgb24") if rgb.dtype == np.uint8 else (65535, "rgb48le")
    tags = clip.coding.tags
    convert = Converter(clip.coding.pixels, tags.matrix, tags.range or 1)

    def back(values: np.ndarray) -> Planes:
        pixels = np.clip(np.rint(values), 0, top).astype(rgb.dtype)
        frame = convert(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=form))
        return [_samples(plane, frame.format.components[0].bits) for plane in frame.planes]

    origin = [(k - 1) // 2 - k // 2 for k in weights.shape]
    colours = np.moveaxis(rgb.astype(float), -1, 0)
    filtered = [ndimage.correlate(c, weights, mode=mode, origin=origin) for c in colours]
    return back(np.stack(filtered, -1)), back(rgb)


def kernel_file(weights: np.ndarray, folder: Path) -> Path:
    np.save(folder / "k.npy", weights)
    return folder / "k.npy"


@pytest.mark.parametrize(
    ("pixels", "content", "tags"),
    [
        ("yuv420p", "shapes", None),
        ("yuv420p", "soft", None),
        ("yuv420p", "noise", None),
        ("yuv420p", "shapes", (1, 1, 1, 2)),
        ("yuv422p", "shapes", None),
        ("yuv444p", "noise", None),
        ("yuv420p10le", "deep", None),
    ],
)
@pytest.mark.parametrize("weights", [SLANTED, STEEP], ids=["slanted", "steep"])
def test_planes_equal_colours_within_the_conversion(
    weights: np.ndarray, pixels: str, content: str, tags: tuple[int, int, int, int] | None, tmp_path: Path
) -> None:
    frames = {
        "shapes": shapes(),
        "soft": pattern(2),
        "noise": np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8),
        "deep": pattern(2, top=65535),
    }[content]
    clip = make(tmp_path / "a.mkv", frames, codec="ffv1", pixels=pixels, tags=tags)
    done = ok("filter", clip, "-k", kernel_file(weights, tmp_path), "-o", tmp_path / "b.mkv", "-v")
    assert b"filtered on the decoded planes" in done.stderr
    ours, before = planes(tmp_path / "b.mkv"), planes(clip)
    colours, unchanged = by_colours(clip, weights, "nearest")
    for plane, reference, original, same in zip(ours, colours, before, unchanged, strict=True):
        conversion = np.abs(original - same)
        difference = np.abs(plane - reference)
        unit = 4 if content == "deep" else 1  # of 10 bits in one of 8
        assert difference.max() <= max(conversion.max(), 2 * unit)
        assert difference.mean() <= max(conversion.mean(), 0.5 * unit)


@pytest.mark.parametrize("weights", [MEAN, SLANTED, STEEP], ids=["mean", "slanted", "steep"])
def test_halved_colour_is_the_mean_of_its_pixels(weights: np.ndarray, tmp_path: Path) -> None:
    """Each sample spread over its 2 x 2 pixels, filtered, and averaged again: what the coarser kernel is."""
    clip = make(tmp_path / "a.mkv", shapes(), codec="ffv1")
    ok("filter", clip, "-k", kernel_file(weights, tmp_path), "-o", tmp_path / "b.mkv", "-q")
    origin = [(k - 1) // 2 - k // 2 for k in weights.shape]
    luma, *colour = planes(clip)
    expected = [ndimage.correlate(luma.astype(float), weights, mode="nearest", origin=origin)]
    for plane in colour:
        spread = plane.repeat(2, 0).repeat(2, 1).astype(float)
        wide = ndimage.correlate(spread, weights, mode="nearest", origin=origin)
        expected.append(wide.reshape(plane.shape[0], 2, plane.shape[1], 2).mean(axis=(1, 3)))
    for found, plane in zip(planes(tmp_path / "b.mkv"), expected, strict=True):
        inner = (slice(2, -2), slice(2, -2))  # at the border a spread sample is repeated by halves
        assert np.abs(found - plane)[inner].max() <= 0.5 + 1e-9


def test_zeros_outside_are_black_and_not_green(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mkv", np.full((2, 64, 96, 3), (200, 60, 40), np.uint8), codec="ffv1")
    ok("filter", clip, "-k", "box:9", "--padding", "same", "-o", tmp_path / "b.mkv", "-q")
    ours = planes(tmp_path / "b.mkv")
    colours, _ = by_colours(clip, np.full((9, 9), 1 / 81), "constant")
    luma, blue, red = planes(clip)
    corner = (luma[0, 0] - 16) * 25 / 81 + 16
    assert ours[0][0, 0] == round(corner)
    for plane, original in ((ours[1], blue), (ours[2], red)):
        assert abs(plane[0, 0] - 128) < abs(original[0, 0] - 128) / 2  # towards no colour, never beyond
    assert all(np.abs(a - b).max() <= 3 for a, b in zip(ours, colours, strict=True))


@pytest.mark.parametrize("kernel", ["box:3", "sharpen"])
def test_luma_alone_leaves_colour_untouched(kernel: str, tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mkv", pattern(3), codec="ffv1")
    done = ok("filter", clip, "-k", kernel, "--channels", "luma", "-o", tmp_path / "b.mkv", "-v")
    assert b"luma alone" in done.stderr
    before, after = planes(clip, 1), planes(tmp_path / "b.mkv", 1)
    for index in (1, 2):
        np.testing.assert_array_equal(after[index], before[index])
    assert (after[0] != before[0]).any()


def test_time_on_planes(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mkv", pattern(6), codec="ffv1", times=[0, 2, 3, 7, 8, 10])
    for channels in ("each", "luma"):
        out = tmp_path / f"{channels}.mkv"
        ok("filter", clip, "-k", "temporal-mean:3", "--channels", channels, "-o", out)
        frames = [planes(clip, index) for index in (1, 2, 3)]
        found = planes(out, 1)
        for index, plane in enumerate(found):
            kept = channels == "luma" and index
            expected = frames[1][index] if kept else sum(frame[index] for frame in frames) / 3
            assert np.abs(plane - expected).max() <= 0.5


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-k", "sobel-x"), "negative weights"),
        (("-k", "0.5,0.25"), "not a weighted mean"),
        (("-k", "box:3", "--bias", "3"), "not a weighted mean"),
        (("-k", "box:3", "--range", "minmax"), "range minmax"),
        (("-k", "box:3", "--stride", "2"), "another grid"),
        (("-k", "box:3", "--padding", "valid"), "another grid"),
        (("-k", "box:3", "--channels", "grey"), "grey"),
        (("-k", "box:3", "--pad-mode", "antireflect"), "leaves the range"),
        (("--pool", "avg:2"), "pool"),
        (("-k", "sobel-x", "--channels", "luma"), "not a weighted mean"),
    ],
)
def test_all_else_runs_in_rgb(options: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", pattern(2))
    done = ok("filter", clip, *options, "-o", tmp_path / "b.mp4", "-v")
    line = next(line for line in done.stderr.decode().splitlines() if "filtered in RGB: " in line)
    assert reason in line


def test_what_has_no_planes_to_offer_runs_in_rgb(tmp_path: Path) -> None:
    turned = make(tmp_path / "a.mp4", pattern(2), rotation=90)
    assert b"the clip is turned" in ok("filter", turned, "-k", "box:3", "-o", tmp_path / "b.mp4", "-v").stderr
    coarse = make(tmp_path / "c.mkv", pattern(2), codec="ffv1", pixels="yuv411p")
    assert b"too coarsely" in ok("filter", coarse, "-k", "box:3", "-o", tmp_path / "d.mkv", "-v").stderr


def test_an_engine_that_was_asked_for_gives_the_same(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mkv", shapes(), codec="ffv1")
    for engine in ("numpy", "torch"):
        done = ok("filter", clip, "-k", "box:5", "--engine", engine, "-o", tmp_path / f"{engine}.mkv", "-v")
        assert done.stderr.startswith(b"note: numpy ") == (engine == "numpy")
    luma = np.full(5, 1 / 5)  # no mean of 25 bytes is a half
    colour = np.array([0.3, 0.4, 0.3])  # five pixels on a grid of every second one, linear between them
    results = [planes(tmp_path / f"{engine}.mkv") for engine in ("numpy", "torch")]
    for source, taps, averaged, floats in zip(planes(clip), (luma, colour, colour), *results, strict=True):
        exact = ndimage.correlate(source.astype(float), np.outer(taps, taps), mode="nearest")
        np.testing.assert_array_equal(averaged, np.rint(exact.round(9)))  # half to even
        half = abs(exact % 1 - 0.5) < 1e-3
        assert not half.any() or taps is colour
        np.testing.assert_array_equal(floats[~half], averaged[~half])
        assert abs(floats.astype(int) - averaged).max() <= 1


def test_overlapping_requests_decode_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make(tmp_path / "a.mp4", pattern(20))
    starts: list[int] = []
    begin = Decoder._start
    monkeypatch.setattr(Decoder, "_start", lambda self, index: (starts.append(index), begin(self, index)))
    with clip.open("rb") as fp:
        source = registry.open_source(fp, registry.by_suffix(clip), ReadOptions())
        assert isinstance(source, PlanarSource)
        for start in range(14):
            for _ in source.coded.planes:  # each plane asks for itself
                frames = source.read_planes(start, start + 7)
        source.close()
    assert starts == [0]
    np.testing.assert_array_equal(frames[0][-1], planes(clip, 19)[0])


def test_a_lossless_codec_keeps_the_planes_exactly(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", pattern(3), pixels="yuv420p10le")
    ok("filter", clip, "-k", "identity", "--codec", "ffv1", "-o", tmp_path / "b.mkv", "-q")
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p10le"
    for ours, theirs in zip(planes(tmp_path / "b.mkv", 2), planes(clip, 2), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("column", "row"), [((1, 1, 1), (1, 1, 1)), ((1, 4, 6, 4, 1), (1, 4, 6, 4, 1)), ((2, 3, 0, 1), (1, 1)),
                        ((1,), (3, 1)), ((0, 5, 1), (1,))]
)  # fmt: skip
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
def test_whole_numbers_are_exact(column: tuple, row: tuple, dilation: tuple[int, int]) -> None:
    weights = np.outer(column, row)
    divisor = int(weights.sum())
    data = np.random.default_rng(1).integers(0, 256, (205, 31), dtype=np.uint8)
    wide = np.zeros([d * (k - 1) + 1 for d, k in zip(dilation, weights.shape, strict=True)], np.int64)
    wide[:: dilation[0], :: dilation[1]] = weights
    sums = np.lib.stride_tricks.sliding_window_view(data.astype(np.int64), wide.shape)
    expected = [[round(Fraction(int((part * wide).sum()), divisor)) for part in line] for line in sums]
    pixels, _ = get_engine("numpy").pixels(
        data[None, None].astype(np.float32),
        (weights / divisor)[None, None].astype(np.float32),
        stride=(1, 1),
        dilation=dilation,
        algorithm=NumpyInteger(),
        how=Rendering("uint8", low=0, top=255, fits=True),
    )
    np.testing.assert_array_equal(pixels[0, 0], expected)  # round() is half to even


def test_steps_ahead_keep_their_order_and_their_errors() -> None:
    closed = []

    def counting(stop: int):
        try:
            yield from range(stop)
            raise ArithmeticError(stop)
        finally:
            closed.append(stop)

    found = []
    with pytest.raises(ArithmeticError):
        for n in ahead(counting(5)):
            found.append(n)
    assert found == [0, 1, 2, 3, 4]
    for n in (items := ahead(counting(100))):
        if n == 3:
            items.close()  # type: ignore[attr-defined]
            break
    assert closed == [5, 100]
