"""Run the main job on the samples, as ``make demo`` does: each command, what it wrote, and a look at it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from convcli.cli.shared.drawing import half_blocks, shows_colours

SAMPLES = Path(__file__).parent
OUT = Path("demo-out")

JOBS = [
    ("An image through hedge: light and dark lines on grey", "house.png", ("-k", "hedge")),
    (
        "A text with salt and pepper through a smoothing kernel",
        "noisy-text.png",
        ("-k", "gaussian:sigma=1.2"),
    ),
    ("A noisy signal through mean3: its time column stays", "noisy-signal.csv", ("-k", "mean3")),
]


def thumbnail(path: Path, columns: int = 38) -> list[str]:
    """Return a small grey picture of an image, or of a signal's first filtered column, as lines of text."""
    import numpy as np
    from PIL import Image

    if path.suffix == ".csv":
        values = np.loadtxt(path, delimiter=",", skiprows=1, usecols=1)
        values = values[np.linspace(0, len(values) - 1, columns).astype(int)]
        level = ((values + 2) / 5 * 20).clip(0, 19).astype(int)
        grey = (np.arange(19, -1, -1)[:, None] == level[None, :]) * 0.95
    else:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"), float)
        side = max(pixels.shape[1] // columns, 1)
        rows = pixels.shape[0] // side
        cells = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
        cells = cells.reshape(rows, columns, -1)
        extreme = np.abs(cells - np.median(pixels)).argmax(axis=2)[..., None]  # thin lines stay in view
        grey = np.take_along_axis(cells, extreme, axis=2)[..., 0] / 255
    return half_blocks(grey.tolist())


def motion() -> int:
    """Find the motion of the sample clip: its events as a table, and where it was as a picture."""
    where = OUT / "walk.motion.png"
    command = ["convcli", "motion", os.path.relpath(SAMPLES / "walk.mp4"), "--overlay"]
    command += ["-o", str(OUT / "walk.motion.mp4"), "--heatmap", str(where), "-y"]
    print(f"\nMotion in a clip: when, where, how much\n$ {shlex.join(command)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "convcli", *command[1:]], check=False).returncode
    if not code and shows_colours():
        print(*thumbnail(where), sep="\n")
    return code


def main() -> int:
    OUT.mkdir(exist_ok=True)
    for title, name, options in JOBS:
        source = Path(os.path.relpath(SAMPLES / name))
        command = ["convcli", "filter", str(source), *options, "--out-dir", str(OUT), "-y"]
        print(f"\n{title}\n$ {shlex.join(command)}", flush=True)
        program = [sys.executable, "-m", "convcli", *command[1:]]
        done = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            return done.returncode
        written = Path(done.stdout.strip())
        print(f"wrote {written} ({written.stat().st_size:,} bytes)")
        if shows_colours():
            for before, after in zip(thumbnail(source), thumbnail(written), strict=False):
                print(f"{before}  {after}")
    if code := motion():
        return code
    print("\nSizes without any data\n$ convcli shape 3@32x32 conv:6@5x5", flush=True)
    return subprocess.run(
        [sys.executable, "-m", "convcli", "shape", "3@32x32", "conv:6@5x5"], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
