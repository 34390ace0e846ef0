"""Clips beside FFmpeg and DVR-Scan: filtering, finding motion, and memory whatever the length.

    python benchmarks/video.py                           # 300 frames: writes video.md
    python benchmarks/video.py --long                    # and 3,000 frames of 1080p, and the memory of 10,000
    python benchmarks/video.py --quick                   # few frames, one run, printed only

Clips are made once, in a temporary folder.  FFmpeg's programs for motion only compare frames; they find no events.
Its ``convolution`` lays the kernel on halved colour as it is, so that it reaches twice as far there; ours draws it
on the coarser grid.  DVR-Scan (BSD-2-Clause) finds events; it needs another OpenCV than the other benchmarks, so that
``make bench`` gives it an environment of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import (
    Command,
    Launcher,
    convcli,
    header,
    machine,
    markdown,
    paired,
    peak,
    program,
    ratio,
    seconds,
)

RUNS = 3
DVR_SCAN = Path(sys.prefix) / "peers" / "bin" / "dvr-scan"
FRAMES, QUICK_FRAMES, LONG_FRAMES = 300, 50, 3000
RESULTS = Path(__file__).with_name("video.md")
ENCODER = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p")
BOX = ":".join(["1 1 1 1 1 1 1 1 1"] * 4) + ":" + ":".join(["1/9"] * 4)
MOTION = "format=gray,avgblur=1,tblend=difference"
MEMORY = 50  # megabytes that a clip a hundred times as long may cost more


def clip(folder: Path, width: int, height: int, frames: int) -> Path:
    """Return a clip of FFmpeg's moving test picture, made where it is missing."""
    path = folder / f"{width}x{height}-{frames}.mp4"
    if not path.exists():
        source = f"testsrc2=size={width}x{height}:rate=25"
        subprocess.run(
            [
                "ffmpeg",
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                source,
                "-frames:v",
                str(frames),
                *ENCODER,
                str(path),
            ],
            check=True,
        )
    return path


def filtering(path: Path, launcher: Launcher, folder: Path, runs: int, goal: str) -> list[str]:
    ours, theirs = folder / "ours.mp4", folder / "theirs.mp4"
    quality = ("--codec", "libx264", "--preset", "veryfast", "--crf", "23", "-q", "-y")
    samples = paired(
        {
            "peer": launcher.contestant(
                Command(("ffmpeg", "-v", "error", "-y", "-i", str(path), "-vf", f"convolution={BOX}", *ENCODER,
                         str(theirs)), theirs)
            ),
            "ours": launcher.contestant(
                Command(convcli("filter", str(path), "-k", "box:3", "-o", str(ours), *quality), ours)
            ),
        },
        runs,
    )  # fmt: skip
    return [f"{path.stem}: 3×3 to H.264", "ffmpeg convolution", *_figures(samples), goal]


def motion(path: Path, launcher: Launcher, runs: int, goal: str, events: bool) -> Iterator[list[str]]:
    """Time looking for motion beside FFmpeg; for ``events`` beside DVR-Scan, which takes four times as long."""
    ours = launcher.contestant(Command(convcli("motion", str(path), "--no-output", "-q")))
    command = ("ffmpeg", "-v", "error", "-i", str(path), "-vf", MOTION, "-f", "null", "-")
    samples = paired({"peer": launcher.contestant(Command(command)), "ours": ours}, runs)
    yield [f"{path.stem}: motion", "ffmpeg avgblur, tblend", *_figures(samples), goal]
    if not events:
        return
    found = str(DVR_SCAN) if DVR_SCAN.exists() else program("dvr-scan")
    if found is None:
        yield [f"{path.stem}: motion events", "DVR-Scan", "not installed", "", "", "1.5"]
        return
    command = (found, "-q", "-i", str(path), "-so")  # only look for events: no clips of them are written
    samples = paired({"peer": launcher.contestant(Command(command)), "ours": ours}, runs)
    yield [f"{path.stem}: motion events", "DVR-Scan", *_figures(samples), "1.5"]


def _figures(samples: dict) -> list[str]:
    peer, ours = samples["peer"], samples["ours"]
    return [f"{seconds(peer):.2f} s", f"{seconds(ours):.2f} s", f"{ratio(peer, ours):.2f}"]


def memory(launcher: Launcher, folder: Path, frames: int) -> list[str]:
    peaks = []
    for count in (100, frames):
        path = clip(folder, 640, 360, count)
        output = folder / "memory.mp4"
        command = Command(convcli("filter", str(path), "-k", "motion", "-o", str(output), "-q", "-y"), output)
        peaks.append((peak([launcher.run(command)]) or 0) / 1e6)
    more = peaks[1] - peaks[0]
    return [f"640×360: {frames:,} frames beside 100", "", *(f"{p:.0f} MB" for p in peaks), f"{more:+.0f} MB",
            f"at most +{MEMORY} MB"]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few frames, one run")
    parser.add_argument("--long", action="store_true", help="3,000 frames of 1080p, memory of 10,000, too")
    parser.add_argument("-o", dest="output", type=Path, help=f"default of a full run: {RESULTS.name}")
    options = parser.parse_args()
    runs = 1 if options.quick else RUNS
    frames = QUICK_FRAMES if options.quick else FRAMES
    output = options.output or (None if options.quick else RESULTS)
    if program("ffmpeg") is None:
        print("ffmpeg is not installed: there is no peer to time")
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        launcher = Launcher()
        facts = machine(folder)
        rows = []
        for count in (frames, *((LONG_FRAMES,) if options.long else ())):
            path = clip(folder, 1920, 1080, count)
            goals = ("0.9", "1.0") if count == LONG_FRAMES else ("0.75", "0.7")
            rows.append(filtering(path, launcher, folder, runs, goals[0]))
            rows += motion(path, launcher, runs, goals[1], events=count == frames)
        rows.append(memory(launcher, folder, 10_000 if options.long else 1000))
        launcher.close()
        table = markdown(("work", "peer", "peer's", "ours", "peer / ours", "goal"), rows)
        text = "\n".join(["# Clips", "", *header(facts), "", *table, ""])
    print(text)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
