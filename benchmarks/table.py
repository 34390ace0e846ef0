"""The table of speeds: convcli beside the tools that people use now, one function for each row.

Every peer does the same work in the same run, and its exact command or code stands in its row.  Where a row says
"in process", both are called from here with arrays in memory, libraries loaded; everything else is a whole command,
from start-up to the closed file.

    python benchmarks/table.py                            # the whole table, into benchmarks/results.md and .json
    python benchmarks/table.py --rows png-photo csv       # some rows, printed only
    python benchmarks/table.py --quick                    # small inputs, one run: does everything work?
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from data import QUICK, Data, Sizes, decimal_3x3, dense_kernel, inline_3x3, photograph
from harness import (
    Command,
    CommandError,
    Launcher,
    Sample,
    convcli,
    duration,
    function,
    header,
    imagemagick,
    machine,
    markdown,
    paired,
    peak,
    program,
    ratio,
    seconds,
)

from convcli.errors import ConvError

RESULTS = Path(__file__).with_name("results.md")
OURS = "convcli"
RUNS = 5
MIB = 1 << 20
MEMORY_LIMIT = 200e6  # bytes, for the TIFF rows
FILE_LIMIT = 1.15  # of OpenCV's PNG
LEVEL = 1.0  # largest difference of 8-bit results: both round
KERNELS = (3, 5, 7, 15, 31, 63, 127, 255)
QUALITY = "90"  # of JPEG: below 95 both keep colour at half resolution
# vips refuses a smaller one, which means a radius of 29 for sigma 8 where ours is 32: the peer has less to do.
MIN_AMPL = "0.001"


@dataclass(frozen=True)
class Check:
    """Something that must hold beside the time; ``met`` is None for a mere remark."""

    text: str
    met: bool | None = None

    def __str__(self) -> str:
        return self.text if self.met is None else f"{self.text}: {'yes' if self.met else 'NO'}"


@dataclass(frozen=True)
class Line:
    """A line of the table: one peer in one row; without samples the peer could not be timed."""

    row: str
    work: str
    peer: str
    goal: float
    ours: tuple[Sample, ...] = ()
    theirs: tuple[Sample, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def ratio(self) -> float | None:
        return ratio(self.theirs, self.ours) if self.theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the goal and every check is met; None where there is no peer to compare with."""
        if self.ratio is None:
            return None
        return self.ratio >= self.goal and all(check.met is not False for check in self.checks)

    def cells(self) -> list[str]:
        memory = (peak(self.ours), peak(self.theirs))
        return [
            self.work,
            self.peer,
            duration(seconds(self.ours) if self.ours else None),
            duration(seconds(self.theirs) if self.theirs else None),
            "-" if self.ratio is None else f"{self.ratio:.2f}",
            f"{self.goal:g}",
            {True: "yes", False: "NO", None: "-"}[self.met],
            " / ".join("-" if bytes_ is None else f"{bytes_ / 1e6:.0f}" for bytes_ in memory),
            "; ".join(map(str, self.checks)),
        ]


HEAD = ("work", "peer", "ours", "peer's", "peer / ours", "goal", "met", "peak MB, ours / peer's", "remarks")


@dataclass(frozen=True)
class Peer:
    """Another tool: a command or a function, or what is missing for it."""

    goal: float
    work: Command | Callable[[], object] | None
    missing: str = "not installed"


@dataclass
class Bench:
    """What rows are given: the inputs, how many runs, and how to time."""

    data: Data
    runs: int
    launcher: Launcher = field(default_factory=Launcher)

    def lines(
        self,
        row: str,
        work: str,
        ours: Command | Callable[[], object],
        peers: Mapping[str, Peer],
        check: Callable[[], Mapping[str, Sequence[Check]]] = dict,
    ) -> Iterator[Line]:
        """Time ours beside the peers, all in turns, then check what came out.

        Parameters
        ----------
        check : callable
            Called when everything has run; for each peer's name what was found.  The name `OURS` is for all.
        """
        present = {name: peer.work for name, peer in peers.items() if peer.work is not None}
        contestants = {name: self._contestant(one) for name, one in {OURS: ours, **present}.items()}
        samples = paired(contestants, self.runs)
        found = check()
        for one in (ours, *present.values()):
            if isinstance(one, Command) and one.output is not None:
                one.output.unlink(missing_ok=True)
        for name, peer in peers.items():
            if peer.work is None:
                yield Line(row, work, f"{name} ({peer.missing})", peer.goal)
                continue
            checks = (*found.get(name, ()), *found.get(OURS, ()))
            yield Line(row, work, name, peer.goal, tuple(samples[OURS]), tuple(samples[name]), checks)

    def _contestant(self, work: Command | Callable[[], object]) -> Callable[[], Sample]:
        return self.launcher.contestant(work) if isinstance(work, Command) else function(work)


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


# --- rows: start-up ---------------------------------------------------------------------------------------------


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
    return Line(line.row, line.work, line.peer, line.goal, line.ours, line.theirs, (*line.checks, check))


# --- rows: in process -------------------------------------------------------------------------------------------


def grey(bench: Bench) -> Iterator[Line]:
    yield from _dense(bench, "grey", 1)


def rgb(bench: Bench) -> Iterator[Line]:
    yield from _dense(bench, "rgb", 3)


def _dense(bench: Bench, row: str, channels: int) -> Iterator[Line]:
    """Random kernels of every size; both continue the picture with its edge."""
    import cv2

    sizes = bench.data.sizes
    image = photograph(sizes.height, sizes.width, grey=channels == 1)
    for k in KERNELS:
        if k >= min(image.shape[:2]):
            continue
        weights = dense_kernel(k, k)
        kernel = (weights / weights.sum()).astype(np.float32)
        ours = partial(_ours, image, kernel, range="clip", axes="YXC"[: image.ndim])
        theirs = partial(cv2.filter2D, image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        work = f"in process, {_megapixels(image)} {row} u8 → u8, {k}×{k} dense"
        goal = (0.8 if k <= (3 if channels == 1 else 5) else 1.0) if k < 63 or channels > 1 else 1.2
        yield from bench.lines(
            row, work, ours, {"OpenCV filter2D": Peer(goal, theirs)}, partial(_same, ours, theirs)
        )


def smooth(bench: Bench) -> Iterator[Line]:
    import cv2

    sizes = bench.data.sizes
    image = photograph(sizes.height, sizes.width, grey=True)
    edge = cv2.BORDER_REPLICATE
    cases: list[tuple[str, str, str, Callable[[], Any]]] = [
        (
            f"Gaussian σ={sigma}",
            f"gaussian:sigma={sigma}",
            "OpenCV GaussianBlur",
            partial(cv2.GaussianBlur, image, (8 * sigma + 1,) * 2, sigma, borderType=edge),
        )
        for sigma in (2, 8)
    ]
    cases.append(
        ("box 31", "box:31", "OpenCV blur", partial(cv2.blur, image, (31, 31), borderType=edge)),
    )
    for name, kernel, peer, theirs in cases:
        ours = partial(_ours, image, kernel, range="clip")
        work = f"in process, {_megapixels(image)} grey u8 → u8, {name}"
        yield from bench.lines("smooth", work, ours, {peer: Peer(0.5, theirs)}, partial(_same, ours, theirs))


def volume(bench: Bench) -> Iterator[Line]:
    import torch
    from scipy import ndimage  # type: ignore[import-untyped]
    from torch.nn import functional as F

    data = bench.data.volume()
    tensor = torch.from_numpy(data)[None, None]
    for sizes, goals in (((2, 3, 3), (4, 4)), ((5, 5, 5), (10, 3))):
        weights = dense_kernel(*sizes)
        kernel = (weights / weights.sum()).astype(np.float32)
        flat = torch.from_numpy(kernel)[None, None]
        origin = tuple((k - 1) // 2 - k // 2 for k in sizes)  # scipy centres even kernels one later
        ours = partial(_ours, data, kernel)
        theirs = partial(ndimage.correlate, data, kernel, mode="nearest", origin=origin)
        naive = partial(F.conv3d, tensor, flat)  # the inside only: it has nothing to pad

        def check(
            ours: Callable[[], np.ndarray] = ours, theirs: Callable[[], np.ndarray] = theirs
        ) -> dict[str, list[Check]]:
            difference = float(np.abs(ours() - theirs()).max())
            return {
                "scipy.ndimage.correlate": [Check(f"largest difference {difference:.1g}", difference < 1e-5)]
            }

        name = "×".join(map(str, sizes))
        work = f"3-D, {name} dense on {'×'.join(map(str, data.shape))} float32"
        peers = {
            "scipy.ndimage.correlate": Peer(goals[0], theirs),
            "naive F.conv3d": Peer(goals[1], naive),
        }
        yield from bench.lines("volume", work, ours, peers, check)


def _ours(array: np.ndarray, kernel: Any, **options: Any) -> np.ndarray:
    import torch  # noqa: F401  # loaded as in a program that has been running for a while

    import convcli

    return convcli.filter(array, kernel, **options)


def _same(ours: Callable[[], np.ndarray], theirs: Callable[[], np.ndarray]) -> dict[str, list[Check]]:
    difference = int(np.abs(ours().astype(np.int16) - theirs()).max())
    return {OURS: [Check(f"largest difference {difference} level(s)", difference <= LEVEL)]}


def _megapixels(image: np.ndarray) -> str:
    return f"{image.shape[0] * image.shape[1] / 1e6:.3g} MP"


# --- rows: tables -----------------------------------------------------------------------------------------------

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


ROWS: Mapping[str, Callable[[Bench], Iterator[Line]]] = {
    "startup": startup,
    "png-small": png_small,
    "png-photo": png_photo,
    "jpeg-photo": jpeg_photo,
    "tiff": tiff,
    "tiff-gaussian": tiff_gaussian,
    "grey": grey,
    "rgb": rgb,
    "smooth": smooth,
    "volume": volume,
    "csv": csv,
}


def report(lines: Sequence[Line], facts: Mapping[str, str], runs: int, quick: bool) -> str:
    """Return the table as Markdown, with what it depends on."""
    note = (
        f"Medians of at least {runs} runs in turns after a warm-up; `peer / ours` is the median of the ratios "
        "of neighbouring runs, so more than 1 means that convcli is faster."
    )
    if quick:
        note = "**A quick run with small inputs: these figures mean nothing.**"
    met = [line.met for line in lines if line.met is not None]
    total = f"{sum(met)} of {len(met)} goals met."
    table = markdown(HEAD, (line.cells() for line in lines))
    return "\n".join(["# Speed", "", *header(facts), "", note, "", *table, "", total, ""])


def save(path: Path, text: str, lines: Sequence[Line], facts: Mapping[str, str]) -> None:
    """Write the table, and beside it every sample as JSON."""
    path.write_text(text, encoding="utf-8")
    content = {
        "machine": dict(facts),
        "lines": [{**asdict(line), "ratio": line.ratio, "met": line.met} for line in lines],
    }
    path.with_suffix(".json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="NAME", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"counted runs of each (default {RUNS})")
    parser.add_argument("--quick", action="store_true", help="small inputs and one run")
    parser.add_argument("-o", dest="output", type=Path, help=f"default of a full run: {RESULTS.name}")
    options = parser.parse_args(arguments)
    data = Data(QUICK if options.quick else Sizes())
    bench = Bench(data, 1 if options.quick else options.runs)
    facts = machine(data.folder)
    lines: list[Line] = []
    failed = 0
    for name in options.rows or ROWS:
        try:
            for line in ROWS[name](bench):
                lines.append(line)
                print(" | ".join(line.cells()), file=sys.stderr, flush=True)
        except (CommandError, ConvError) as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr, flush=True)
    bench.launcher.close()
    text = report(lines, facts, bench.runs, options.quick)
    print(text)
    whole = not (options.quick or options.rows)
    if options.output or whole:
        save(options.output or RESULTS, text, lines, facts)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
