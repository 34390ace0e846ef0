"""Draw the pictures of README and the documents: samples, and what convcli makes of them.

Run ``python samples/picture.py``; it writes ``overview.webp`` and ``motion.png`` into ``docs/pictures``, the same
on every run.  Every panel but those of the inputs is written by convcli itself.  ``coffee.jpg`` is scikit-image's
photograph (CC0 by the photographer, Rachel Michetti), ``skimage.data.coffee()`` at 320 x 213.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SAMPLES = Path(__file__).parent
PICTURES = SAMPLES.parent / "docs" / "pictures"

# One row for each input; each entry of it is what stands between the input's name and the output's.
ROWS = (
    ("coffee.jpg", ("-k sobel --channels grey", "-k gaussian:5 --region 66,22,168,148")),
    ("noisy-text.png", ("-k median:3", "-k median:3 -k emboss")),
    ("noisy-signal.csv", ("-k gaussian:sigma=4", "--pool max:10")),
)
WIDTH, PLOT_HEIGHT = 320, 120
GAP, CAPTION = 16, 30
PAPER, INK, PALE, CURVE = (255, 255, 255), (40, 40, 48), (216, 218, 224), (30, 90, 170)
MOMENT = 75  # the frame of the clip that is shown, at 3 s
COLOURS = 256  # of the palette: keeps the file small


def filtered(name: str, options: str, folder: Path) -> Path:
    """Run ``convcli filter`` on a sample and return the file that it wrote."""
    output = folder / f"{len(list(folder.iterdir()))}{Path(name).suffix}"
    command = ["-m", "convcli", "filter", name, *shlex.split(options), "-q", "-o", str(output)]
    subprocess.run([sys.executable, *command], cwd=SAMPLES, check=True)
    return output


def motion(folder: Path) -> list[tuple[str, Image.Image]]:
    """Return a frame of the sample clip, the motion in it, and the heat map of the whole clip."""
    commands = (
        "filter walk.mp4 -k identity -o {0}/seen-%03d.png",
        "motion walk.mp4 -o {0}/motion-%03d.png --heatmap {0}/heat.png",
    )
    for command in commands:
        words = shlex.split(command.format(folder))
        subprocess.run([sys.executable, "-m", "convcli", *words, "-q"], cwd=SAMPLES, check=True)
    names = {  # the first file has the number 1, the first frame 0
        f"walk.mp4 at {MOMENT / 25:.0f} s": f"seen-{MOMENT + 1:03}.png",
        "convcli motion walk.mp4": f"motion-{MOMENT + 1:03}.png",
        "--heatmap": "heat.png",
    }
    large = (WIDTH, WIDTH * 3 // 4)
    return [
        (caption, panel(folder / name).resize(large, Image.Resampling.NEAREST))
        for caption, name in names.items()
    ]


def panel(path: Path) -> Image.Image:
    """Return a picture as it is, or the first signal of a table as a curve."""
    if path.suffix == ".csv":
        return plot(np.loadtxt(path, delimiter=",", skiprows=1, usecols=1))
    with Image.open(path) as image:
        return image.convert("RGB")


def plot(values: np.ndarray) -> Image.Image:
    """Draw a curve over the line of zero, at three times the size and reduced, for smooth edges."""
    large, margin = 3, 8
    picture = Image.new("RGB", (WIDTH * large, PLOT_HEIGHT * large), PAPER)
    draw = ImageDraw.Draw(picture)
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)

    def height(value: float) -> float:
        return (margin + (PLOT_HEIGHT - 2 * margin) * (high - value) / (high - low)) * large

    draw.line((0, height(0), WIDTH * large, height(0)), fill=PALE, width=large)
    across = np.linspace(0, WIDTH * large - 1, len(values))
    points = [(float(x), height(y)) for x, y in zip(across, values, strict=True)]
    draw.line(points, fill=CURVE, width=2 * large, joint="curve")
    return picture.resize((WIDTH, PLOT_HEIGHT), Image.Resampling.BOX)


def overview(rows: list[list[tuple[str, Image.Image]]]) -> Image.Image:
    """Lay out captions and panels as a table."""
    font = ImageFont.load_default(15)
    width = GAP + len(rows[0]) * (WIDTH + GAP)
    height = GAP + sum(CAPTION + max(image.height for _, image in row) + GAP for row in rows)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for row in rows:
        for column, (caption, image) in enumerate(row):
            left = GAP + column * (WIDTH + GAP)
            draw.text((left, top), caption, font=font, fill=INK)
            sheet.paste(image, (left, top + CAPTION - 6))
            frame = (left - 1, top + CAPTION - 7, left + WIDTH, top + CAPTION - 6 + image.height)
            draw.rectangle(frame, outline=PALE)
        top += CAPTION + max(image.height for _, image in row) + GAP
    return sheet


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for name, options in ROWS:
            row = [(name, panel(SAMPLES / name))]
            row += [(text, panel(filtered(name, text, Path(folder)))) for text in options]
            rows.append(row)
        moving = motion(Path(folder))
    overview(rows).save(PICTURES / "overview.webp", quality=70, method=6)
    few = overview([moving]).quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(PICTURES / "motion.png", optimize=True)


if __name__ == "__main__":
    main()
