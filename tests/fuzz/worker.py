"""The cases of one reader, tried one after the other in a process that may die of it.

Every case is one line on standard output: its number, what became of it, the seconds.  What the parent does not
hear of has crashed or hangs.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType

from convcli.common.errors import ConvError
from tests.fuzz.readers import READERS, Reader

SEED = 6
SECONDS = 10  # that a case may take
MEMORY = 8 << 30  # bytes of address space: what a few megabytes of input ask for beyond that is a fault


class Slow(BaseException):
    """No Exception: nothing on the way may take it for an error of its own."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise Slow


@contextmanager
def limited() -> Iterator[None]:
    """Interrupt what takes too long, as far as Python can."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def attempt(reader: Reader, case: bytes | str, number: int, folder: Path) -> bool:
    """Try one case; return whether it was accepted.

    Raises
    ------
    Exception
        Whatever is not a refusal in one line.
    """
    try:
        reader.try_it(case, Random(number), folder)
    except ConvError as error:
        if "Traceback" in str(error) or not str(error):
            raise AssertionError(f"no message: {str(error)!r}") from error
        return False
    return True


def mutated(reader: Reader, number: int, way: str = "mutation") -> bytes | str:
    """Return the case of this number: always the same."""
    rng = Random(f"{SEED}/{reader.name}/{way}/{number}")
    return reader.rearrange(rng) if way == "structure" and reader.rearrange else reader.make(rng)


def tell(reader: Reader, case: bytes | str, number: int, folder: Path) -> None:
    start = time.perf_counter()
    try:
        with limited():
            what = "accepted" if attempt(reader, case, number, folder) else "refused"
    except (Exception, Slow) as error:
        lines = traceback.format_exception(error)[-4:]
        what = "failed " + json.dumps({"case": repr(case)[:300], "error": "".join(lines)})
    print(number, f"{time.perf_counter() - start:.4f}", what, flush=True)


def hypothesise(reader: Reader, first: int, count: int, folder: Path) -> None:
    from hypothesis import HealthCheck, given, seed, settings

    from tests.fuzz.strategies import cases

    number = first

    @seed(SEED + first)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=cases(reader))
    def examples(case: bytes | str) -> None:
        nonlocal number
        tell(
            reader, case, number, folder
        )  # does not return where Hypothesis breaks a draw off, and counts no case
        number += 1

    examples()


def main(name: str, way: str, first: int, count: int) -> None:
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, _stop)
    reader = next(reader for reader in READERS if reader.name == name)
    with tempfile.TemporaryDirectory() as folder:
        if way == "hypothesis":
            hypothesise(reader, first, count, Path(folder))
            return
        for number in range(first, first + count):
            tell(reader, mutated(reader, number, way), number, Path(folder))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
