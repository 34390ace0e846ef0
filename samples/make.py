"""Make the samples: small, deterministic, drawn here and so free of anyone's rights.

Run ``python samples/make.py``; it writes beside itself and changes nothing when run twice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from clips import ball, walk, write
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent


def scene() -> Image.Image:
    """A house by a lake: edges in all directions, flat areas, a gradient, fine texture."""
    large = 2  # drawn at twice the size and halved, for smooth edges
    width, height = 320 * large, 240 * large
    rows = np.linspace(0, 1, height)[:, None, None]
    sky = (np.array([90, 140, 210]) * (1 - rows) + np.array([250, 220, 180]) * rows).astype(np.uint8)
    picture = Image.fromarray(np.broadcast_to(sky, (height, width, 3)).copy())
    draw = ImageDraw.Draw(picture)

    def scaled(*points: float) -> list[float]:
        return [point * large for point in points]

    draw.ellipse(scaled(240, 24, 284, 68), fill=(255, 244, 190))
    draw.polygon(scaled(0, 150, 60, 70, 110, 130, 160, 60, 230, 140, 270, 100, 320, 150), fill=(96, 110, 140))
    draw.polygon(scaled(60, 70, 48, 86, 60, 92, 74, 86), fill=(240, 244, 250))
    draw.polygon(scaled(160, 60, 147, 78, 160, 86, 177, 80), fill=(240, 244, 250))
    draw.rectangle(scaled(0, 148, 320, 240), fill=(70, 120, 70))
    draw.ellipse(scaled(170, 170, 340, 236), fill=(60, 100, 160))
    for y in range(180, 228, 8):
        draw.line(scaled(200 + (y * 7) % 23, y, 262 + (y * 5) % 31, y), fill=(150, 185, 225), width=large)
    draw.rectangle(scaled(54, 124, 138, 196), fill=(214, 196, 168))
    draw.polygon(scaled(44, 126, 96, 84, 148, 126), fill=(150, 60, 50))
    draw.rectangle(scaled(86, 152, 106, 196), fill=(90, 60, 40))
    for x in (62, 114):
        draw.rectangle(scaled(x, 138, x + 18, 156), fill=(240, 236, 200))
        draw.line(scaled(x + 9, 138, x + 9, 156), fill=(90, 60, 40), width=large)
        draw.line(scaled(x, 147, x + 18, 147), fill=(90, 60, 40), width=large)
    for x in range(4, 170, 12):
        draw.rectangle(scaled(x, 204, x + 4, 226), fill=(236, 230, 214))
    draw.rectangle(scaled(0, 210, 172, 213), fill=(236, 230, 214))
    return picture.resize((width // large, height // large), Image.Resampling.BOX)


def noisy_text() -> Image.Image:
    """Text with salt and pepper on one pixel in ten."""
    picture = Image.new("L", (320, 96), 235)
    draw = ImageDraw.Draw(picture)
    draw.text((14, 8), "Convolution", font=ImageFont.load_default(40), fill=30)
    draw.text((16, 60), "salt and pepper, one pixel in ten", font=ImageFont.load_default(17), fill=30)
    pixels = np.array(picture)
    chance = np.random.default_rng(7).random(pixels.shape)
    pixels[chance < 0.05] = 0
    pixels[chance > 0.95] = 255
    return Image.fromarray(pixels)


def noisy_signal() -> str:
    """Four seconds of a slow wave with a step, sampled 50 times a second, in noise."""
    random = np.random.default_rng(11)
    time = np.arange(200) / 50
    clean = np.sin(2 * np.pi * 0.5 * time) + np.where(time > 2.5, 1.0, 0.0)
    rows = zip(time, clean + random.normal(0, 0.25, 200), 20 + random.normal(0, 0.4, 200), strict=True)
    return "time,voltage,temperature\n" + "".join(f"{t:.2f},{v:.4f},{c:.2f}\n" for t, v, c in rows)


TABLES = {
    "book-signal.csv": "x\n-1\n4\n11\n14\n21\n25\n30\n",
    "book-steps.csv": "x\n" + "".join(f"{v}\n" for v in (10, 11, 9, 10, 101, 99, 100, 101, 9, 10, 11, 10)),
    "book-transposed.csv": "5,6\n7,8\n",
    "book-pool.csv": "0,12,26,39\n6,19,31,44\n12,25,38,50\n18,31,43,57\n",
    "book-matrix.csv": "1.0,2.0,3.0,0.0,0.0\n0.0,1.0,2.0,3.0,0.0\n0.0,0.0,1.0,2.0,3.0\n",
    "book-matrix-stride2.csv": "1.0,2.0,3.0,0.0,0.0\n0.0,0.0,1.0,2.0,3.0\n",
    "book-y.csv": "y\n1\n2\n3\n",  # three outputs, for the transposed matrix to make five inputs of
}


def main() -> None:
    scene().save(HERE / "house.png", optimize=True)
    noisy_text().save(HERE / "noisy-text.png", optimize=True)
    (HERE / "noisy-signal.csv").write_text(noisy_signal(), newline="")
    write(ball(), HERE / "ball.mp4")
    write(walk(), HERE / "walk.mp4")
    for name, text in TABLES.items():
        (HERE / name).write_text(text, newline="")
    random = np.random.default_rng(3)
    np.save(HERE / "rgb-3x32x32.npy", random.integers(0, 256, (3, 32, 32), dtype=np.uint8))
    np.save(HERE / "bank-6x3x5x5.npy", random.normal(0, 0.1, (6, 3, 5, 5)).astype(np.float32))
    np.save(HERE / "bank-4x2x5.npy", random.normal(0, 0.1, (4, 2, 5)).astype(np.float32))


if __name__ == "__main__":
    main()
