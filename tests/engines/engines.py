"""The engines that every contract holds for: numpy also without its compiled loops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

from convcli.engines import get_engine
from convcli.engines.base import Engine
from convcli.engines.native import library

WITHOUT = "numpy alone"
NAMES = ["numpy", WITHOUT, "torch"]


@contextmanager
def engine_named(name: str) -> Iterator[Engine]:
    """Give one of `NAMES`, or ``torch-cuda``."""
    word, _, device = name.partition("-")
    alone = patch.object(library, "loops", lambda: None) if name == WITHOUT else nullcontext()
    with alone:
        yield get_engine(word.split()[0], device or "cpu")
