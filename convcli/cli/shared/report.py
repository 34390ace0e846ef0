"""What a person is told beside the data: notes on stderr, results as text or JSON on stdout."""

from __future__ import annotations

import codecs
import io
import sys
from typing import Any

from convcli.common.numbers import printable


def note(text: str) -> None:
    """Say on stderr what went otherwise than one may expect; control characters in names cannot break the line."""
    plain(f"note: {printable(text)}")


def error(text: str) -> None:
    """Say on stderr what failed."""
    plain(f"error: {printable(text)}")


def plain(text: str) -> None:
    """Print a line on stderr in one write, so that lines of several processes do not interleave."""
    sys.stderr.write(f"{text}\n")


_PLAIN = {"×": "x", "·": ".", "…": "...", "−": "-", "–": "-", "√": "sqrt ", "²": "^2", "±": "+-"}


def speak_plainly() -> None:
    """Let standard output take every text: names that are no text byte by byte, other signs in its own alphabet.

    Without it a name from another machine, or a × where the locale is not UTF-8, would be an error.
    """
    codecs.register_error("plain", _plain)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    sign = error.object[error.start]
    if 0xDC80 <= ord(sign) <= 0xDCFF:  # a byte of a name that could not be decoded (PEP 383)
        return bytes([ord(sign) - 0xDC00]), error.start + 1
    return _PLAIN.get(sign, sign.encode("unicode_escape").decode()), error.start + 1


def print_json(value: Any, to_stderr: bool = False) -> None:
    """Print a value as one line of JSON, escaped where the stream could not take it."""
    import json  # 1 ms that other commands need not wait for

    stream = sys.stderr if to_stderr else sys.stdout
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value)
    print(text, file=stream)
