"""Write ``kernels.md``: every kernel of the library with its weights, a sample before and after, and its response.

Run ``python docs/kernels.py``; the results are the same on every run.  Filtered samples and responses are written by
convcli itself; what is done here is to lay them side by side, smaller and with few colours.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from convcli.cli.kernels import Described
from convcli.cli.kernels import draw as draw_response
from convcli.cli.program import run
from convcli.kernel import library, load_kernel
from convcli.kernel.library import Entry

DOCS = Path(__file__).parent
SAMPLES = DOCS.parent / "samples"
HIGH, GAP = 128, 8
PAPER, CURVE = 255, 60

PHOTOGRAPHS = {  # of scikit-image, in the public domain; the corner of what is shown
    "astronaut": (90, 190),
    "camera": (75, 200),
    "coffee": (150, 220),
    "chelsea": (90, 130),
    "rocket": (120, 300),
}
MAGNITUDES = ("sobel", "scharr", "prewitt", "farid", "roberts", "kirsch")
TILE = 64

HEAD = """\
# Every kernel

The library, in the order of its names: weights, a sample before and after, and what the kernel does to frequencies.
`python docs/kernels.py` writes this page. Kernels of pictures are shown on a drawing, with the range that the kernel
asks for; kernels of signals on a noisy signal; kernels of clips on the middle frame of a disk that moves to the right.
`convcli kernels show NAME` has the exact numbers, and draws the response larger with `-o FILE.png`.
"""


def told(*words: str) -> str:
    """Return what a command prints; it must succeed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run(list(words))
    if code:
        raise SystemExit(f"convcli {' '.join(words)}: {said.getvalue()}")
    return said.getvalue()


def inputs(folder: Path) -> None:
    """Write the samples that are filtered: a picture, a signal, and the frames of a clip."""
    with Image.open(SAMPLES / "house.png") as house:
        house.convert("L").crop((40, 40, 40 + HIGH, 40 + HIGH)).save(folder / "picture.png")
    signal = np.loadtxt(SAMPLES / "noisy-signal.csv", delimiter=",", skiprows=1, usecols=1)[:200]
    np.savetxt(folder / "signal.csv", signal, header="voltage", comments="")
    y, x = np.mgrid[:HIGH, :HIGH]
    for frame in range(9):
        disk = np.hypot(x - 40 - 6 * frame, y - HIGH / 2) < 24
        Image.fromarray((60 + 140 * disk).astype(np.uint8)).save(folder / f"clip-{frame}.png")


def filtered(entry: Entry, folder: Path) -> list[Image.Image]:
    """Return the sample of a kernel's rank, and what the kernel makes of it."""
    name = entry.kernel.name
    if entry.rank == 1:
        told("filter", str(folder / "signal.csv"), "-k", name, "-q", "-y", "-o", str(folder / "out.csv"))
        return [plot(np.loadtxt(folder / file, skiprows=1)) for file in ("signal.csv", "out.csv")]
    if entry.rank == 3:
        frames = folder / "clip-%d.png", folder / "out-%d.png"
        told("filter", str(frames[0]), "-k", name, "-q", "-y", "-o", str(frames[1]))
        made = sorted(folder.glob("out-*.png"))
        pictures = [Image.open(path).convert("L") for path in (folder / "clip-4.png", made[len(made) // 2])]
        for path in made:
            path.unlink()
        return pictures
    told("filter", str(folder / "picture.png"), "-k", name, "-q", "-y", "-o", str(folder / "out.png"))
    return [Image.open(folder / file).convert("L") for file in ("picture.png", "out.png")]


def plot(values: np.ndarray) -> Image.Image:
    """Draw a curve over the line of zero, at three times the size and reduced, for smooth edges."""
    large, margin = 3, 6
    wide, high = 200 * large, HIGH * large
    picture = Image.new("L", (wide, high), PAPER)
    draw = ImageDraw.Draw(picture)
    low, top = min(values.min(), 0.0), max(values.max(), 0.0)
    levels = margin * large + (high - 2 * margin * large) * (top - np.append(values, 0.0)) / (top - low)
    draw.line((0, levels[-1], wide, levels[-1]), fill=210, width=large)
    across = np.linspace(0, wide - 1, len(values))
    points = list(zip(across.tolist(), levels[:-1].tolist(), strict=True))
    draw.line(points, fill=CURVE, width=2 * large, joint="curve")
    return picture.resize((200, HIGH), Image.Resampling.BOX)


def response(name: str, folder: Path) -> Image.Image:
    """Return the response as ``kernels show`` draws it, as high as the samples."""
    shown = Described(load_kernel(name))
    shown.__dict__["sample"] = ()  # this page has its own
    draw_response(shown, str(folder / "response.png"), force=True)
    with Image.open(folder / "response.png") as drawn:
        grey = drawn.convert("L")
    return grey.resize((round(grey.width * HIGH / grey.height), HIGH), Image.Resampling.LANCZOS)


def side_by_side(pictures: list[Image.Image], target: Path) -> None:
    """Write pictures in a row, in few greys."""
    row = Image.new("L", (sum(one.width + GAP for one in pictures) - GAP, HIGH), PAPER)
    left = 0
    for one in pictures:
        row.paste(one, (left, 0))
        left += one.width + GAP
    save(row, target)


def save(picture: Image.Image, target: Path) -> None:
    """Write a picture in sixteen even greys: small files, and the same in every version of the libraries."""
    picture.point([round(level / 17) * 17 for level in range(256)]).quantize(16).save(target, optimize=True)


def draw(entry: Entry, folder: Path, pictures: Path) -> None:
    """Write the picture of one kernel: a sample, what becomes of it, and the response of weights."""
    parts = filtered(entry, folder)
    if entry.kernel.statistic is None:
        parts.append(response(entry.kernel.name, folder))
    side_by_side(parts, pictures / f"{entry.kernel.slug}.png")


def section(entry: Entry) -> str:
    """Return the text of one kernel."""
    kernel = entry.kernel
    shown = told("kernels", "show", kernel.name).split("\n\na sample ")[0].splitlines()
    first = shown.index("") + 1
    response = ", and its frequency response" if kernel.statistic is None else ""
    return f"""
## {kernel.name}

{kernel.description[0].upper() + kernel.description[1:]}.

![A sample, what {kernel.name} makes of it{response}](pictures/kernels/{kernel.slug}.png)

```text
{chr(10).join(shown[first:])}
```
"""


def brightness(folder: Path, pictures: Path) -> str:
    """Write the sheet of photographs and their edges, and return the text about their brightness."""
    from skimage import data  # only tests and this page need it

    sheet = Image.new("L", (len(PHOTOGRAPHS) * (TILE + 2), (len(MAGNITUDES) + 1) * (TILE + 2)), PAPER)
    bright: dict[str, list[float]] = {name: [] for name in MAGNITUDES}
    for column, (photograph, (y, x)) in enumerate(PHOTOGRAPHS.items()):
        Image.fromarray(getattr(data, photograph)()).save(folder / "photograph.png")
        for row, name in enumerate(("identity", *MAGNITUDES)):
            told(
                "filter",
                str(folder / "photograph.png"),
                "-k",
                name,
                "-q",
                "-y",
                "-o",
                str(folder / "edges.png"),
            )
            with Image.open(folder / "edges.png") as edges:
                if name in bright:
                    bright[name].append(float(np.percentile(np.asarray(edges), 99)))
                tile = edges.convert("L").crop((x, y, x + TILE, y + TILE))
            sheet.paste(tile, (column * (TILE + 2), row * (TILE + 2)))
    save(sheet, pictures / "brightness.png")
    rows = [
        f"| {name} | {' | '.join(f'{value:.0f}' for value in values)} | **{np.median(values):.0f}** |"
        for name, values in bright.items()
    ]
    head = f"| | {' | '.join(PHOTOGRAPHS)} | median |"
    lines = [BRIGHTNESS, head, "|---|" + "---|" * (len(PHOTOGRAPHS) + 1), *rows]
    words = "Parts of the photographs, and their edges in the order of the table"
    return "\n".join([*lines, f"\n![{words}](pictures/kernels/brightness.png)\n"])


BRIGHTNESS = """
## How bright edges are

Sizes of gradients are shown so that a step by half of black to white is white. The 99th percentile of the result, of
255, over five photographs of scikit-image; the median of `sobel` must be 180 at least. `roberts` compares pixels beside
each other, between which the edges of photographs are softer. Below them, parts of the photographs at their full
resolution.
"""


def main() -> None:
    pictures = DOCS / "pictures" / "kernels"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs(folder)
        for entry in library.entries():
            draw(entry, folder, pictures)
        parts = [HEAD, *map(section, library.entries()), brightness(folder, pictures)]
    (DOCS / "kernels.md").write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
