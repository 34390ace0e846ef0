"""Rows of whole commands: start-up, pictures and tables from file to file, beside scripts and other programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from bench import LEVEL, OURS, Bench, Check, Line, Peer
from data import decimal_3x3, inline_3x3
from harness import Command, CommandError, convcli, imagemagick, peak, program

MEMORY_LIMIT = 200e6  # bytes, for the TIFF rows
FILE_LIMIT = 1.15  # of OpenCV's PNG
QUALITY = "90"  # of JPEG: below 95 both keep colour at half resolution
# vips refuses a smaller one, which means a radius of 29 for sigma 8 where ours is 32: the peer has less to do.
MIN_AMPL = "0.001"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def opencv(image: Path, output: Path, options: str = "") -> Command:
    """Return the script that a person would write: read, filter with the small kernel, write."""
    code = (
        "import cv2, numpy as np; "
        f"image = cv2.imread({str(image)!r}); "
        "kernel = np.array([[1, 2, 3], [4, 5, 4], [3, 2, 1]], np.float32) / 25; "
        f"cv2.imwrite({str(output)!r}, cv2.filter2D(image, -1, kernel){options})"
    )
    return Command(python(code), output)


def filtered(image: Path, output: Path, *kernel: str) -> Command:
    """Return our command; ``-q``, because a script's peers say nothing either."""
    return Command(convcli("filter", str(image), *kernel, "-o", str(output), "-y", "-q"), output)


def vips(goal: float, operation: str, image: Path, output: Path, *arguments: str) -> Peer:
    command = (program("vips"), operation, str(image), str(output), *arguments)
    return Peer(goal, installed(command, output))


def installed(arguments: tuple[str | None, ...], output: Path, *, to_stdout: bool = False) -> Command | None:
    """Return the command of a peer, None if the program, its first word, is not installed."""
    words = tuple(word for word in arguments if word is not None)
    return Command(words, output, to_stdout) if len(words) == len(arguments) else None


def startup(bench: Bench) -> Iterator[Line]:
    peer = Command(python("import typer"))
    for goal, arguments in ((0.7, ("shape", "3@32x32", "conv:6@5x5")), (0.4, ("--help",))):
        ours = Command(convcli(*arguments))
        work = f"`convcli {arguments[0]}`"
        yield from bench.lines("startup", work, ours, {'`python -c "import typer"`': Peer(goal, peer)})


# --- rows: pictures ---------------------------------------------------------------------------------------------


def png_small(bench: Bench) -> Iterator[Line]:
    image, out = bench.data.small_png, bench.data.output
    ours = filtered(image, out("ours.png"), "-k", inline_3x3())
    peers = {"OpenCV script": Peer(0.8, opencv(image, out("opencv.png")))}
    side = bench.data.sizes.small
    check = partial(_same_pictures, bench, {"OpenCV script": "opencv.png"}, "ours.png")
    yield from bench.lines("png-small", f"{side}² RGB PNG → PNG, 3×3", ours, peers, check)


def png_photo(bench: Bench) -> Iterator[Line]:
    image, out, sizes = bench.data.photo_png, bench.data.output, bench.data.sizes
    magick = imagemagick()
    command = (magick, str(image), "-convolve", decimal_3x3(), str(out("magick.png")))
    peers = {
        "OpenCV script": Peer(1.4, opencv(image, out("opencv.png"))),
        "vips": vips(2.2, "conv", image, out("vips.png"), str(bench.data.mask_3x3), "--precision", "integer"),
        "ImageMagick": Peer(12, installed(command, out("magick.png"))),
    }
    ours = filtered(image, out("ours.png"), "-k", inline_3x3())

    def check() -> dict[str, list[Check]]:
        written = {"OpenCV script": "opencv.png", "ImageMagick": "magick.png"}
        found = _same_pictures(bench, written if magick else {"OpenCV script": "opencv.png"}, "ours.png")
        share = out("ours.png").stat().st_size / out("opencv.png").stat().st_size
        text = f"file {share:.2f} times OpenCV's, at most {FILE_LIMIT}"
        return {**found, OURS: [Check(text, share <= FILE_LIMIT)]}

    work = f"{sizes.width}×{sizes.height} RGB PNG → PNG, 3×3"
    yield from bench.lines("png-photo", work, ours, peers, check)


def jpeg_photo(bench: Bench) -> Iterator[Line]:
    image, out, sizes = bench.data.photo_jpeg, bench.data.output, bench.data.sizes
    ours = filtered(image, out("ours.jpg"), "-k", inline_3x3(), "--quality", QUALITY)
    script = opencv(image, out("opencv.jpg"), f", [cv2.IMWRITE_JPEG_QUALITY, {QUALITY}]")

    def check() -> dict[str, list[Check]]:
        import cv2

        mean = float(cv2.absdiff(_inside(out("ours.jpg")), _inside(out("opencv.jpg"))).mean())
        return {OURS: [Check(f"mean difference {mean:.2f} levels, at most 1", mean <= LEVEL)]}

    work = f"{sizes.width}×{sizes.height} JPEG → JPEG, 3×3, quality {QUALITY}"
    yield from bench.lines("jpeg-photo", work, ours, {"OpenCV script": Peer(1.0, script)}, check)


def tiff(bench: Bench) -> Iterator[Line]:
    image, out, side = bench.data.big_tiff, bench.data.output, bench.data.sizes.big
    ours = filtered(image, out("ours.tif"), "-k", inline_3x3())
    mask = str(bench.data.mask_3x3)
    peer = vips(1.0, "conv", image, out("vips.tif"), mask, "--precision", "integer")
    check = partial(_same_tiffs, bench, "integer kernels: vips rounds more than once")
    for line in bench.lines("tiff", f"{side}² 8-bit TIFF → TIFF, 3×3", ours, {"vips": peer}, check):
        yield _within_memory(line)


def tiff_gaussian(bench: Bench) -> Iterator[Line]:
    image, out, side = bench.data.big_tiff, bench.data.output, bench.data.sizes.big
    ours = filtered(image, out("ours.tif"), "-k", "gaussian:sigma=8")
    peer = vips(1.0, "gaussblur", image, out("vips.tif"), "8", "--min-ampl", MIN_AMPL)

    def check() -> dict[str, list[Check]]:
        return {
            OURS: [
                *_same_tiffs(bench, "vips's default, integer arithmetic").get(OURS, ()),
                *_equal_gaussian(bench),
            ]
        }

    work = f"{side}² 8-bit TIFF → TIFF, Gaussian σ=8"
    name = f"vips gaussblur, --min-ampl {MIN_AMPL}"
    for line in bench.lines("tiff-gaussian", work, ours, {name: peer}, check):
        yield _within_memory(line)


def _equal_gaussian(bench: Bench) -> Iterator[Check]:
    """vips in floats against ours, on a smaller picture: equal within a level although its radius is 29."""
    import tifffile

    path = program("vips")
    if path is None:
        return
    image = bench.data.grey_tiff(1024, 1024)
    ours, theirs = bench.data.output("small-ours.tif"), bench.data.output("small-vips.tif")
    options = ("8", "--min-ampl", MIN_AMPL, "--precision", "float")
    bench.launcher.run(filtered(image, ours, "-k", "gaussian:sigma=8"))
    bench.launcher.run(Command((path, "gaussblur", str(image), str(theirs), *options), theirs))
    difference = float(np.abs(tifffile.imread(ours) - tifffile.imread(theirs)).max())
    ours.unlink()
    theirs.unlink()
    yield Check(f"vips in floats within {difference:.2f} levels of ours", difference <= LEVEL)


def _same_pictures(bench: Bench, written: Mapping[str, str], ours: str) -> dict[str, list[Check]]:
    """Compare pictures as OpenCV reads them."""
    import cv2

    mine = _inside(bench.data.output(ours))
    found = {}
    for peer, name in written.items():
        difference = int(cv2.absdiff(mine, _inside(bench.data.output(name))).max())
        found[peer] = [Check(f"largest difference {difference} level(s)", difference <= LEVEL)]
    return found


def _inside(path: Path) -> np.ndarray:
    """Read a picture without its border, where the peers continue the picture differently."""
    import cv2

    picture = cv2.imread(str(path))
    if picture is None:
        raise CommandError(f"OpenCV cannot read {path.name}")
    return picture[1:-1, 1:-1]


def _same_tiffs(bench: Bench, remark: str) -> dict[str, list[Check]]:
    """Compare large pictures strip by strip; a remark only, because vips computes in coarse integers."""
    import tifffile

    paths = [bench.data.output(name) for name in ("ours.tif", "vips.tif")]
    if not all(path.exists() for path in paths):
        return {}
    maps = [tifffile.memmap(path, mode="r") for path in paths]
    largest = 0
    for row in range(0, len(maps[0]), 1024):
        a, b = (strip[row : row + 1024].astype(np.int16) for strip in maps)
        largest = max(largest, int(np.abs(a - b).max()))
    return {OURS: [Check(f"largest difference {largest} level(s) ({remark})")]}


def _within_memory(line: Line) -> Line:
    used = peak(line.ours)
    if used is None:
        return line
    check = Check(f"peak memory at most {MEMORY_LIMIT / 1e6:.0f} MB", used <= MEMORY_LIMIT)
    return replace(line, checks=(*line.checks, check))


POLARS = """
import polars as pl
table = pl.read_csv({table!r})
table.with_columns(pl.all().rolling_mean(3, center=True)).write_csv({output!r})
"""


def csv(bench: Bench) -> Iterator[Line]:
    table, out = bench.data.table, bench.data.output
    ours = Command(
        convcli("filter", str(table), "-k", "smooth3", "-o", str(out("ours.csv")), "-y", "-q"),
        out("ours.csv"),
    )
    step = (program("mlr"), "--icsv", "--ocsv", "step", "-a", "slwin_1_1", "-f", "a,b,c", str(table))
    script = python(POLARS.format(table=str(table), output=str(out("polars.csv"))))
    peers = {
        "Miller `step -a slwin_1_1`": Peer(4, installed(step, out("mlr.csv"), to_stdout=True)),
        "polars script": Peer(0.5, Command(script, out("polars.csv"))),
    }

    def check() -> dict[str, list[Check]]:
        import polars

        mine, other = (polars.read_csv(out(name)).to_numpy() for name in ("ours.csv", "polars.csv"))
        means = mine[1:-1] / 0.99  # smooth3 weighs three times 0.33
        difference = float(np.abs(means - other[1:-1]).max())
        return {OURS: [Check(f"largest difference {difference:.1g}", difference < 1e-6)]}

    work = f"{bench.data.sizes.rows / 1e6:g} M-row 3-column CSV, smooth3"
    yield from bench.lines("csv", work, ours, peers, check)
