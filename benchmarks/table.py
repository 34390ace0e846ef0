"""The table of speeds: convcli beside the tools that people use now.

Every peer does the same work in the same run; its exact command or code stands in `rows_files.py` or
`rows_arrays.py`, one function for each row.  Where a row says "in process", both are called from here with arrays in
memory, libraries loaded; everything else is a whole command, from start-up to the closed file.

    python benchmarks/table.py                            # the whole table, into results.md and results.json
    python benchmarks/table.py --rows png-photo csv       # some rows, printed only
    python benchmarks/table.py --quick                    # small inputs, one run: does everything work?
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import rows_arrays
import rows_files
from bench import HEAD, Bench, Line
from data import QUICK, Data, Sizes
from harness import CommandError, header, machine, markdown

from convcli.common.errors import ConvError

RESULTS = Path(__file__).with_name("results.md")
RUNS = 5

ROWS: Mapping[str, Callable[[Bench], Iterator[Line]]] = {
    "startup": rows_files.startup,
    "png-small": rows_files.png_small,
    "png-photo": rows_files.png_photo,
    "jpeg-photo": rows_files.jpeg_photo,
    "tiff": rows_files.tiff,
    "tiff-gaussian": rows_files.tiff_gaussian,
    "grey": rows_arrays.grey,
    "rgb": rows_arrays.rgb,
    "smooth": rows_arrays.smooth,
    "ranks": rows_arrays.ranks,
    "volume": rows_arrays.volume,
    "csv": rows_files.csv,
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
    whole = not (options.quick or options.rows)
    output = options.output or (RESULTS if whole else None)
    lines: list[Line] = []
    failed = 0
    text = ""
    for name in options.rows or ROWS:
        try:
            for line in ROWS[name](bench):
                lines.append(line)
                print(" | ".join(line.cells()), file=sys.stderr, flush=True)
        except (CommandError, ConvError) as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr, flush=True)
        text = report(lines, facts, bench.runs, options.quick)
        if output is not None:  # after every row: a long run that breaks keeps what it has
            save(output, text, lines, facts)
    bench.launcher.close()
    print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
