"""One file through the command line, as a process of its own: what came of it, and whether that is right."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.corpora.reference import Seen, boxed, frames_of, look, written
from tests.measured import Measured, measured

SECONDS = 20
MEGABYTES = 1024
TOLERANCE = 1.25  # of 255: rounding at both ends, and 16 bits that Pillow cuts to 8
LOSSLESS = {"PNG": "png", "TIFF": "tif", "BMP": "bmp", "WEBP": "webp"}
MOVING = ("GIF", "PNG", "WEBP", "TIFF")  # whose frames or pages are all compared
PIXELS = 30_000_000  # of all frames together, above which they are not
LOSSY = {"JPEG": "jpg", "MPO": "jpg", "GIF": "gif"}


def flaws_of(ran: Measured) -> list[str]:
    """Return what no input may cause."""
    lines = [line for line in ran.words.splitlines() if line]
    flaws = []
    if ran.seconds > SECONDS:
        flaws.append(f"took more than {SECONDS} s")
    if ran.megabytes > MEGABYTES:
        flaws.append(f"{ran.megabytes:.0f} MB")
    if "Traceback" in ran.words or "internal error" in ran.words:
        flaws.append(f"traceback: {lines[-1] if lines else ''}")
    elif ran.code not in (0, 1, 2):
        flaws.append(f"exit code {ran.code}")
    elif ran.code and not (len(lines) == 1 and lines[0].startswith("error: ")):
        flaws.append(f"an error of {len(lines)} lines")
    return flaws


@dataclass(frozen=True)
class Verdict:
    """What came of one file."""

    corpus: str
    name: str
    seen: Seen | None  # without its pixels
    filtered: bool
    reason: str  # of a refusal
    flaws: tuple[str, ...]
    difference: float | None  # the largest, of 255; None where it could not be compared
    moving: float | None  # the same of all frames or pages
    still: str  # why frames or pages could not be compared
    seconds: float
    megabytes: float
    jobs: int


def judge(corpus: str, path: Path, name: str) -> Verdict:
    """Filter a file, read the result with another program, and compare it with scipy's."""
    seen = look(path)
    runs: list[Measured] = []
    flaws: list[str] = []
    difference = None
    suffixes = [
        LOSSLESS.get(seen.kind, "png") if seen else {".tif": "tif", ".npy": "npy"}.get(path.suffix, "png")
    ]
    if seen and (seen.bits == 32 or seen.mode == "CMYK"):
        suffixes = ["tif"]
    if seen and seen.kind in LOSSY:
        suffixes.append(LOSSY[seen.kind])
    with tempfile.TemporaryDirectory() as folder:
        for suffix in suffixes:
            out = Path(folder, f"out.{suffix}")
            ran = measured("filter", path, "-k", "box:3", "-o", out, "-q", limit=SECONDS + 1)
            runs.append(ran)
            flaws += flaws_of(ran)
            if ran.code == 0:
                problems, found = _check(out, seen, lossless=suffix == suffixes[0])
                flaws += problems
                difference = found if suffix == suffixes[0] else difference
                out.unlink(missing_ok=True)
            if left := [path.name for path in Path(folder).iterdir()]:
                flaws.append(f"left {', '.join(left)}")
        if seen and seen.frames > 2 and seen.kind in ("GIF", "WEBP", "PNG", "AVIF", "FLI"):
            ran = measured("motion", path, "--no-output", "-q", limit=SECONDS + 1)
            runs.append(ran)
            flaws += [f"motion: {flaw}" for flaw in flaws_of(ran)]
        moving, still = None, ""
        if seen and seen.frames > 1 and seen.kind in MOVING and not runs[0].code:
            moving, still, ran = _all_frames(path, seen, Path(folder, "all.npy"))
            runs.append(ran)
            flaws += [f"all frames: {flaw}" for flaw in flaws_of(ran)]
    reason = runs[0].words.strip().removeprefix("error: ").replace(str(path), name) if runs[0].code else ""
    return Verdict(
        corpus,
        name,
        seen and Seen(seen.kind, seen.mode, seen.size, seen.frames, None, seen.alpha, seen.bits),
        runs[0].code == 0,
        reason,
        tuple(flaws),
        difference,
        moving,
        still,
        max(ran.seconds for ran in runs),
        max(ran.megabytes for ran in runs),
        len(runs),
    )


def _all_frames(path: Path, seen: Seen, out: Path) -> tuple[float | None, str, Measured]:
    """Filter all frames or pages; return how far they are from scipy's, or why they were not compared."""
    ran = measured("filter", path, "-k", "box:3", "--frames", "all", "-o", out, "-q", limit=SECONDS + 1)
    if ran.code:
        return None, ran.words.strip().removeprefix("error: ").replace(f"{path}", path.name), ran
    got = np.load(out)
    if got.size > PIXELS:
        return None, "too large to be compared", ran
    expected = frames_of(path, seen.kind)
    if expected is None:
        return None, "pages of several sizes, or of samples that Pillow reduces or refuses", ran
    shape = expected[0].shape[:2]
    got = got if got.shape[1:3] == shape else got[None]  # one frame is a still picture
    if got.shape[1:3] != shape or len(got) != len(expected):
        return None, f"{got.shape} here, {len(expected)} of {shape[0]} x {shape[1]} there", ran
    scale = 257 if got.max(initial=0) > 256 else 1
    distances = [
        np.abs(_rgba(frame / scale) - (mean := boxed(other, True)))
        * np.append(np.repeat(mean[..., 3:] / 255, 3, -1), np.ones_like(mean[..., 3:]), -1)
        for frame, other in zip(got, expected, strict=True)
    ]  # what is seen of a colour
    return max(float(distance.max(initial=0)) for distance in distances), "", ran


def _rgba(frame: np.ndarray) -> np.ndarray:
    """Return grey or colours, with alpha or without, as colours with alpha."""
    frame = np.atleast_3d(frame)
    count = frame.shape[2]
    alpha = frame[..., -1:] if count in (2, 4) else np.full_like(frame[..., :1], 255)
    colours = np.repeat(frame[..., :1], 3, -1) if count < 3 else frame[..., :3]
    return np.concatenate([colours, alpha], -1)


def _check(out: Path, seen: Seen | None, lossless: bool) -> tuple[list[str], float | None]:
    """Return what is wrong with an output, and how far it is from scipy's."""
    try:
        pixels, alpha, bits, size = written(out)
    except Exception as error:
        return [f"the output cannot be opened: {type(error).__name__} {error}"], None
    if seen is None:
        return [], None
    flaws = []
    if size != seen.size:
        flaws.append(f"the output has {size[0]} x {size[1]}, not {seen.size[0]} x {seen.size[1]}")
    wanted = 8 if seen.bits <= 8 else 16 if seen.bits <= 16 else 32
    if lossless and bits != wanted:
        flaws.append(f"the output has {bits} bits, not {wanted}")
    if flaws or not lossless or seen.pixels is None or pixels is None:
        return flaws, None
    return [], _difference(pixels, alpha, bits, seen)


def _difference(pixels: np.ndarray, alpha: bool, bits: int, seen: Seen) -> float | None:
    expected = boxed(seen.pixels, seen.alpha)
    if seen.alpha and not alpha:  # a format without alpha
        expected = expected[..., :-1]
        alpha = False
    if expected.ndim == 3 and expected.shape[2] == 1:
        expected = expected[..., 0]
    if pixels.ndim == 2 and expected.ndim == 3:  # grey is stored once
        pixels = np.repeat(pixels[..., None], expected.shape[2], axis=2)
    if expected.ndim == 2 and pixels.ndim == 3:
        expected = np.repeat(expected[..., None], pixels.shape[2], axis=2)
    if pixels.shape != expected.shape:
        return None
    if bits == 16 and seen.mode not in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        pixels = pixels / 257  # Pillow has kept 8 of 16 bits
    elif bits >= 16:
        scale = (
            257.0
            if bits == 16
            else max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=1)) / 255)
        )
        pixels, expected = pixels / scale, expected / scale
    distance = np.abs(pixels - expected)
    if seen.alpha and alpha:  # what is seen of a colour
        distance[..., :-1] *= expected[..., -1:] / 255
    return float(np.nanmax(distance, initial=0.0))
