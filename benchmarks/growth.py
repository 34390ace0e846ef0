"""How time and memory grow with the picture and with the kernel, beside OpenCV and vips: a table and a plot.

Whole commands from a grey 8-bit TIFF to another, so that peak memory can be told; kernels are dense and random, of
whole numbers divided by their sum, the same for all.  Whoever takes longer than `PATIENCE` at one size is timed
once and not asked for the next.

    python benchmarks/growth.py            # writes growth.md, growth.json and growth.png beside itself
    python benchmarks/growth.py --quick    # small sizes, one run, into the folder of the inputs
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from data import QUICK, Data, Sizes, dense_kernel
from harness import (
    Command,
    Launcher,
    Sample,
    convcli,
    duration,
    header,
    machine,
    markdown,
    paired,
    peak,
    program,
    seconds,
)

SIDES = (1024, 2048, 4096, 8192, 16384)  # 1 to 268 megapixels
KERNELS = (1, 3, 5, 7, 15, 31, 63, 127, 255)
KERNEL = 5  # while the picture grows
RUNS = 3
PATIENCE = 20.0  # seconds of one run

SCRIPT = """
import cv2, numpy as np
image = cv2.imread({image!r}, cv2.IMREAD_UNCHANGED)
kernel = np.load({kernel!r}).astype(np.float32)
cv2.imwrite({output!r}, cv2.filter2D(image, -1, kernel), [cv2.IMWRITE_TIFF_COMPRESSION, 1])
"""


@dataclass(frozen=True)
class Point:
    """One contestant at one size."""

    series: str
    megapixels: float
    kernel: int
    tool: str
    samples: tuple[Sample, ...]


def contestants(data: Data, height: int, width: int, k: int) -> dict[str, Command]:
    """Return the commands that filter one picture with one kernel, by the tool's name."""
    weights = dense_kernel(k, k)
    image, kernel = data.grey_tiff(height, width), data.kernel_file(weights)
    ours, opencv, vips = (data.output(f"growth-{name}.tif") for name in ("ours", "opencv", "vips"))
    script = SCRIPT.format(image=str(image), kernel=str(kernel), output=str(opencv))
    commands = {
        "convcli": Command(
            convcli("filter", str(image), "-k", str(kernel), "-o", str(ours), "-y", "-q"), ours
        ),
        "OpenCV script": Command((sys.executable, "-c", script), opencv),
    }
    path = program("vips")
    if path is not None:
        mask = str(data.vips_mask(weights))
        words = (path, "conv", str(image), str(vips), mask, "--precision", "integer")
        commands["vips"] = Command(words, vips)
    return commands


def walk(data: Data, launcher: Launcher, runs: int, sides: Sequence[int]) -> Iterator[Point]:
    """Let the picture grow, then the kernel."""
    patient = _Patience(launcher, runs)
    for side in sides:
        yield from patient.points("picture", side * side / 1e6, KERNEL, contestants(data, side, side, KERNEL))
    patient = _Patience(launcher, runs)
    height, width = data.sizes.height, data.sizes.width
    for k in KERNELS:
        commands = contestants(data, height, width, k)
        yield from patient.points("kernel", height * width / 1e6, k, commands)


class _Patience:
    """Times contestants at growing sizes, and drops those that have become too slow."""

    def __init__(self, launcher: Launcher, runs: int) -> None:
        self._launcher = launcher
        self._runs = runs
        self._slow: set[str] = set()

    def points(
        self, series: str, megapixels: float, k: int, commands: Mapping[str, Command]
    ) -> Iterator[Point]:
        racing = {}
        for name, command in commands.items():
            if name in self._slow:
                continue
            contestant = self._launcher.contestant(command)
            first = contestant()
            if first.seconds > PATIENCE:
                self._slow.add(name)
                yield Point(series, megapixels, k, name, (first,))
            else:
                racing[name] = contestant
        for name, samples in paired(racing, self._runs).items():
            yield Point(series, megapixels, k, name, tuple(samples))
        for command in commands.values():
            if command.output is not None:
                command.output.unlink(missing_ok=True)


def table(points: Sequence[Point], series: str) -> list[str]:
    """Return one series as a Markdown table: time and peak memory of each tool."""
    chosen = [point for point in points if point.series == series]
    tools = list(dict.fromkeys(point.tool for point in chosen))
    rows = []
    for size in dict.fromkeys(_size(point) for point in chosen):
        here = {point.tool: point.samples for point in chosen if _size(point) == size}
        cells = [f"{size:.3g} MP" if series == "picture" else f"{size:.0f}×{size:.0f}"]
        for tool in tools:
            samples = here.get(tool, ())
            memory = peak(samples)
            cells += [duration(seconds(samples) if samples else None)]
            cells += ["-" if memory is None else f"{memory / 1e6:.0f}"]
        rows.append(cells)
    head = [series, *(cell for tool in tools for cell in (tool, "MB"))]
    return markdown(head, rows)


def _size(point: Point) -> float:
    return point.megapixels if point.series == "picture" else point.kernel


def plot(points: Sequence[Point], path: Path) -> None:
    """Draw time and peak memory over both sizes, on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    first = next(point for point in points if point.series == "kernel")
    columns = (
        ("picture", f"picture, MP ({KERNEL}×{KERNEL} kernel)"),
        ("kernel", f"kernel's side ({first.megapixels:.3g} MP picture)"),
    )
    measures: tuple[tuple[str, Callable[[Sequence[Sample]], float]], ...] = (
        ("seconds", seconds),
        ("peak memory, MB", lambda samples: (peak(samples) or 0) / 1e6),
    )
    for column, (series, label) in enumerate(columns):
        for row, (unit, measure) in enumerate(measures):
            panel = axes[row, column]
            chosen = [point for point in points if point.series == series]
            for tool in dict.fromkeys(point.tool for point in chosen):
                mine = [point for point in chosen if point.tool == tool]
                panel.loglog(list(map(_size, mine)), [measure(p.samples) for p in mine], "o-", label=tool)
            panel.set(xlabel=label, ylabel=unit)
            panel.grid(which="both", alpha=0.3)
    axes[0, 0].legend()
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"counted runs of each (default {RUNS})")
    parser.add_argument("--quick", action="store_true", help="small sizes and one run")
    options = parser.parse_args(arguments)
    data = Data(QUICK if options.quick else Sizes())
    facts = machine(data.folder)
    launcher = Launcher()
    points = []
    for point in walk(
        data, launcher, 1 if options.quick else options.runs, SIDES[: 2 if options.quick else None]
    ):
        points.append(point)
        line = (point.series, f"{point.megapixels:.3g} MP", f"k={point.kernel}", point.tool)
        print(*line, duration(seconds(point.samples)), file=sys.stderr, flush=True)
    launcher.close()
    folder = data.folder if options.quick else Path(__file__).parent
    plot(points, folder / "growth.png")
    lines = ["# Cost growth", "", *header(facts), ""]
    lines += [f"Whole commands, grey TIFF → TIFF; the picture grows under a {KERNEL}×{KERNEL} kernel.", ""]
    lines += [
        *table(points, "picture"),
        "",
        *table(points, "kernel"),
        "",
        "![time and memory](growth.png)",
        "",
    ]
    (folder / "growth.md").write_text("\n".join(lines), encoding="utf-8")
    content = {"machine": facts, "points": [asdict(point) for point in points]}
    (folder / "growth.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
