"""What a person is told beside the data: notes on stderr, results as text or JSON on stdout."""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from typing import Annotated, Any

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Keep the traceback of an error.")]
"""An option of every command; `convcli.__main__` looks for it."""


class Verbosity(IntEnum):
    QUIET = 0
    NORMAL = 1
    VERBOSE = 2

    @classmethod
    def of(cls, quiet: bool, verbose: bool) -> Verbosity:
        return cls.QUIET if quiet else cls.VERBOSE if verbose else cls.NORMAL


def note(text: str) -> None:
    """Say one line on stderr; control characters in names cannot break it."""
    print(f"convcli: {one_line(text)}", file=sys.stderr)


def plain(text: str) -> None:
    """Print a line of a table on stderr."""
    print(text, file=sys.stderr)


def one_line(text: str) -> str:
    """Return a text with line breaks and control characters made visible.

    >>> one_line("a\\nb")
    'a\\\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_json(value: Any, to_stderr: bool = False) -> None:
    """Print a value as one line of JSON; what JSON cannot hold (infinities) becomes null."""
    print(json.dumps(value, ensure_ascii=False), file=sys.stderr if to_stderr else sys.stdout)
