"""Alpha of clips: kept where codec and container hold it, and said where they do not."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from convcli.data.info import Colour
from tests.clips import pattern
from tests.media.test_clips import opened, whole, write
from tests.shell import ok


def seen_through() -> np.ndarray:
    """Soft colours, (T, Y, X, 4), opaque on the left and transparent on the right."""
    frames = pattern(4)
    alpha = np.broadcast_to(np.linspace(255, 0, frames.shape[2]).round().astype(np.uint8), frames.shape[:3])
    return np.concatenate([frames, alpha[..., None]], axis=-1)


def made(path: Path, codec: str, pixels: str, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        frames = seen_through()
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        for array in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgba")))
        container.mux(stream.encode(None))
    return path


CODED = [
    ("a.webm", "libvpx-vp9", "yuva420p", {"crf": "10", "b": "0"}),
    ("a.webm", "libvpx", "yuva420p", {"auto-alt-ref": "0", "crf": "4", "b": "4M"}),
    ("a.mkv", "libvpx-vp9", "yuva420p", {"crf": "10", "b": "0"}),
    ("a.mov", "prores_ks", "yuva444p10le", {}),
    ("a.mov", "png", "rgba", {}),
    ("a.mov", "qtrle", "argb", {}),
    ("a.mkv", "ffv1", "bgra", {}),
]


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options"), CODED, ids=[f"{c} {n}" for n, c, _, _ in CODED]
)
def test_alpha_is_read_and_kept(
    name: str, codec: str, pixels: str, options: dict[str, str], tmp_path: Path
) -> None:
    path = made(tmp_path / name, codec, pixels, **options)
    source = opened(path)
    assert source.info.colour is Colour.RGBA
    source.close()
    done = ok("filter", path, "-k", "identity", "-o", (out := tmp_path / f"b{path.suffix}"))
    assert b"alpha" not in done.stderr
    expected = seen_through()[..., 3].astype(int)
    for clip in (path, out):
        alpha = whole(clip)[..., 3].astype(int)
        if alpha.max() > 255:
            alpha = alpha // 257
        assert np.abs(alpha - expected).max() <= 6
    with av.open(str(path)) as first, av.open(str(out)) as second:
        assert first.streams.video[0].codec_context.name == second.streams.video[0].codec_context.name


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("a.mp4", {}),
        ("a.mp4", {"codec": "vp9"}),
        ("a.mp4", {"codec": "hevc", "preset": "ultrafast"}),
        ("a.webm", {"pixels": "yuv420p"}),
        ("a.avi", {"codec": "huffyuv", "pixels": "rgb24"}),
    ],
)
def test_alpha_that_is_lost_is_said(name: str, video: dict[str, str], tmp_path: Path) -> None:
    notes = write(tmp_path / name, seen_through(), **video)
    assert [note for note in notes if "the alpha channel is left out" in note]
    assert whole(tmp_path / name).shape[-1] == 3


def test_alpha_without_its_decoder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "a.webm", "libvpx-vp9", "yuva420p")
    monkeypatch.setattr(av, "codecs_available", set())
    source = opened(path)
    assert source.info.colour is Colour.RGB
    assert any("the alpha channel is left out" in note for note in source.info.notes)
    source.close()
