"""`make fuzz`: all cases of all readers in processes of their own; writes `results.md` beside this file.

A crash and a hang count as failures; the case behind it is the next.  A case is repeated by its number:
`python -m tests.fuzz.worker png mutation 1234 1`.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.fuzz.readers import READERS, Reader
from tests.fuzz.worker import SECONDS, SEED

HANG = 3 * SECONDS  # of silence: native code that no signal reaches
SHOWN = 3  # failures of a row that the report quotes
RESULTS = Path(__file__).with_name("results.md")


@dataclass
class Tally:
    """What became of the cases of one reader, made in one way."""

    reader: str
    way: str
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        return self.accepted + self.refused + len(self.failures)

    @property
    def row(self) -> str:
        counts = f"{self.cases} | {self.accepted} | {self.refused} | {len(self.failures)}"
        return f"| {self.reader} | {self.way} | {counts} | {self.seconds:.0f} | {self.slowest * 1000:.0f} |"

    def hear(self, line: str) -> int:
        """Take in one line of a worker; return the number of its case."""
        number, seconds, what = line.split(" ", 2)
        self.slowest = max(self.slowest, float(seconds))
        if what.startswith("failed"):
            told = json.loads(what.partition(" ")[2])
            self.failures.append(f"{self.reader} ({self.way}) {number}: {told['case']}\n{told['error']}")
        elif what == "accepted":
            self.accepted += 1
        else:
            self.refused += 1
        return int(number)


def _listen(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line.strip())
    lines.put(None)


def _round(tally: Tally, first: int, count: int) -> int:
    """Run one worker as far as it comes; return the first case that it has not told of."""
    command = [sys.executable, "-m", "tests.fuzz.worker", tally.reader, tally.way, str(first), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines: queue.Queue[str | None] = queue.Queue()
        errors: queue.Queue[str | None] = queue.Queue()
        for stream, heap in ((process.stdout, lines), (process.stderr, errors)):
            threading.Thread(target=_listen, args=(stream, heap), daemon=True).start()
        following = first
        try:
            while (line := lines.get(timeout=HANG)) is not None:
                following = tally.hear(line) + 1
        except queue.Empty:
            process.kill()
            tally.failures.append(f"{tally.reader} ({tally.way}) {following}: silent for {HANG} s")
            return following + 1
        if process.wait():
            said = [line for line in iter(errors.get, None) if line][-3:]
            tally.failures.append(
                f"{tally.reader} ({tally.way}) {following}: the process ended with {process.returncode}: {said}"
            )
            return following + 1
    return first + count


def fuzz(reader: Reader, way: str, count: int) -> Tally:
    tally, start = Tally(reader.name, way), time.perf_counter()
    following = 0
    while following < count and len(tally.failures) < 20:
        following = _round(tally, following, count - following)
    tally.seconds = time.perf_counter() - start
    print(tally.row, file=sys.stderr, flush=True)
    return tally


def report(tallies: list[Tally], seconds: float) -> str:
    total = sum(tally.cases for tally in tallies)
    failures = sum(len(tally.failures) for tally in tallies)
    shown = [failure for tally in tallies for failure in tally.failures[:SHOWN]]
    lines = [
        "# What fuzzing found",
        "",
        f"`make fuzz` writes this table: {total} cases with seed {SEED}, {failures} failures, "
        f"{seconds:.0f} seconds.",
        "",
        "A case is *accepted* when the reader gives all samples that it promised, *refused* when it says so in one",
        "error of its own (`ConvError`). Anything else has failed: another exception, a crash of the process, more",
        f"than {SECONDS} seconds, more than 8 GB. *Mutation* spoils real files (bit flips, bytes and words set, cuts,",
        "insertions, repetitions, splices, truncation; PNG with its checksums made right again) and texts (tokens",
        "exchanged); *structure* changes one size, count, offset, depth or type of a header, or leaves out, doubles,",
        "moves or empties one chunk, segment, box, directory entry, packet or member of an archive, and keeps the rest",
        "sound (`tests/fuzz/structure.py`); *hypothesis* draws edits and joins tokens.",
        "",
        "| reader | made by | cases | accepted | refused | failed | seconds | slowest, ms |",
        "|---|---|---|---|---|---|---|---|",
        *(tally.row for tally in tallies),
        "",
    ]
    if shown:
        lines += ["## Failures", "", *(f"```text\n{failure.rstrip()}\n```\n" for failure in shown)]
    return "\n".join(lines)


def main() -> int:
    start = time.perf_counter()
    workers = int(os.environ.get("WORKERS", "2"))
    ways = (("mutation", 1.0), ("structure", 0.75), ("hypothesis", 0.25))
    jobs = [
        (reader, way, int(share * reader.cases))
        for reader in READERS
        for way, share in ways
        if way != "structure" or reader.rearrange
    ]
    with ThreadPoolExecutor(workers) as pool:
        tallies = list(pool.map(lambda job: fuzz(*job), jobs))
    RESULTS.write_text(report(tallies, time.perf_counter() - start), encoding="utf-8")
    print(RESULTS)
    return 1 if any(tally.failures for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
