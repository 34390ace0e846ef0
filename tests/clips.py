"""Clips for the tests, made with PyAV alone and never with our own writer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "samples"))


def pattern(count: int = 6, height: int = 48, width: int = 64, top: int = 255, seed: int = 2) -> np.ndarray:
    """Soft colours that move, (T, Y, X, 3), 8 bits, or 16 where ``top`` is larger."""
    t, y, x = np.mgrid[:count, :height, :width]
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    parts = [
        np.sin((x + 3 * t) / 9 + phase[0]),
        np.cos((y - 2 * t) / 7 + phase[1]),
        np.sin((x + y) / 11 + phase[2]),
    ]
    return np.rint((0.5 + 0.4 * np.stack(parts, -1)) * top).astype(np.uint8 if top < 256 else np.uint16)


def make(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    base: Fraction = Fraction(1, 25),
    sound: bool = False,
    rotation: int = 0,
    tags: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames (T, Y, X[, 3]) as a clip."""
    kind = ("gray16le" if frames.dtype == np.uint16 else "gray") if frames.ndim == 3 else (
        "rgb48le" if frames.dtype == np.uint16 else "rgb24"
    )  # fmt: skip
    with av.open(str(path), "w") as container:
        usual = {"crf": "4", "preset": "veryfast"} if codec in ("libx264", "libx265") else {}
        stream = container.add_stream(codec, rate=Fraction(1) / base, options={**usual, **(options or {})})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = stream.time_base = base
        if tags:
            context = stream.codec_context
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        audio = (
            container.add_stream("aac" if path.suffix == ".mp4" else "libopus", rate=48000) if sound else None
        )
        for index, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format=kind)
            if tags:
                frame = frame.reformat(format=pixels, dst_colorspace=tags[2], dst_color_range=tags[3])
            frame.pts, frame.time_base = (times[index] if times else index), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            wave = (np.sin(np.arange(12000) / 20)[None] * 0.3).astype(np.float32)
            for at in range(0, 12000, 960):
                part = av.AudioFrame.from_ndarray(wave[:, at : at + 960], format="fltp", layout="mono")
                part.sample_rate, part.pts = 48000, at
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    return path


def decoded(path: Path, form: str) -> np.ndarray:
    """Decode with the other FFmpeg, which shares no code with ours but libav's."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        width, height = (
            (frame.height, frame.width) if frame.rotation in (90, -90) else (frame.width, frame.height)
        )
    done = subprocess.run(
        [program, "-v", "error", "-i", str(path), "-fps_mode", "passthrough", "-f", "rawvideo", "-sws_flags",
         "accurate_rnd+full_chroma_int+full_chroma_inp+bicubic", "-pix_fmt", form, "-"],
        capture_output=True, check=True,
    )  # fmt: skip
    dtype = np.dtype("<u2") if "16" in form or "48" in form or "10le" in form else np.dtype("u1")
    channels = () if form.startswith("gray") else (4 if "a" in form else 3,)
    return np.frombuffer(done.stdout, dtype).reshape(-1, height, width, *channels)


def times_of(path: Path) -> list[Fraction]:
    """Return when each frame is shown, in seconds."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def packets(path: Path, kind: str) -> list[bytes]:
    """Return the packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [bytes(packet) for packet in container.demux(stream) if packet.size]
