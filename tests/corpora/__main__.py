"""``python -m tests.corpora [WORKERS] [--only TEXT]``: run every file of the corpora and write ``results.md``."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.corpora.fetch import CORPORA, files
from tests.corpora.judge import judge
from tests.corpora.table import document, unexplained

RESULTS = Path(__file__).with_name("results.md")


def main() -> int:
    """Return 0 when no file did what none may do, and the goal is met."""
    parser = argparse.ArgumentParser(prog="tests.corpora")
    parser.add_argument("workers", type=int, nargs="?", default=2)
    parser.add_argument("--only", help="files whose name holds this; prints instead of writing")
    given = parser.parse_args()
    jobs = []
    for corpus in CORPORA:
        found = files(corpus)
        root = Path(*Path(found[0]).parts[: found[0].parts.index(corpus.package) + 1])
        jobs += [(corpus.name, path, path.relative_to(root).as_posix()) for path in found]
    jobs = [job for job in jobs if not given.only or given.only in job[2]]
    with ProcessPoolExecutor(given.workers) as pool:
        verdicts = list(pool.map(judge, *zip(*jobs, strict=True), chunksize=4))
    text = document(verdicts)
    if given.only:
        print(text)
    else:
        RESULTS.write_text(text)
    failures = unexplained(verdicts)
    print(*failures, f"{len(verdicts)} files, {len(failures)} failures", sep="\n", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
