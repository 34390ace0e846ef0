"""What a person is told beside the data: notes on stderr, results as text or JSON on stdout."""

import codecs
import io
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO

from convcli.cli.shared.terminal import Table
from convcli.common import ConvError, plugins, printable
from convcli.common.machine import NO_MEMORY, NO_THREAD


def note(text: str) -> None:
    """Say on stderr what went otherwise than one may expect; control characters in names cannot break the line."""
    # In one write, so that lines of several processes do not mix
    sys.stderr.write(f"note: {printable(text)}\n")


def error(text: str) -> None:
    """Say on stderr what failed."""
    text = printable(text)
    whole = text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    sys.stderr.write(f"error: {whole}\n")


def explained(error: BaseException) -> tuple[str, int]:
    """Return the line and the exit code for a failure."""
    if isinstance(error, ConvError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        return "not enough memory for this job", 1
    if isinstance(error, BlockingIOError) or NO_THREAD in str(error):
        return (
            "no thread or process can be started: too few are allowed, or too little memory (see ulimit -a)",
            1,
        )
    if isinstance(error, OSError):
        return f"{error.filename!r}: {error.strerror}" if error.filename else str(error.strerror or error), 1
    if isinstance(error, ImportError) and str(error.name).partition(".")[0] == "torch":
        return "this command needs torch: pip install torch", 1
    if broken := plugins.blamed(error):
        return str(broken), broken.exit_code
    return f"internal error: {type(error).__name__}: {error} (--debug shows where; please report it)", 1


_LONGEST = 2000  # characters of an error, which may quote what was given
_PLAIN = {"×": "x", "·": ".", "…": "...", "−": "-", "–": "-", "√": "sqrt ", "²": "^2", "±": "+-"}
_PLAIN |= dict.fromkeys("▁▂▃", ".") | dict.fromkeys("▄▅▆▇█", "#")


def speak_plainly() -> None:
    """Let the standard streams take every text: names that are not text byte by byte, other signs in their alphabet.

    Without it a name from another machine, or a × where the locale is not UTF-8, would be an error.
    """
    codecs.register_error("plain", _plain)
    if isinstance(sys.stdout, io.TextIOWrapper):
        lines = sys.stdout.line_buffering or sys.stdout.write_through  # unbuffered: a line is one write too
        sys.stdout.reconfigure(errors="plain", line_buffering=lines, write_through=False)
    if isinstance(sys.stderr, io.TextIOWrapper):
        form = sys.stderr.encoding, sys.stderr.errors
        sys.stderr = _Stderr(sys.stderr.detach(), *form, line_buffering=True)


class _Stderr(io.TextIOWrapper):
    """Standard error: what cannot be written there (a full disk, a reader that left) is lost, and the work goes on."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    sign = error.object[error.start]
    if 0xDC80 <= ord(sign) <= 0xDCFF:  # a byte of a name that could not be decoded (PEP 383)
        return bytes([ord(sign) - 0xDC00]), error.start + 1
    return _PLAIN.get(sign, sign.encode("unicode_escape").decode()), error.start + 1


class Drawing(str):
    """A line of colours that a terminal draws."""


class Note(str):
    """A line of a report that goes to stderr."""


def show(
    result: Any,
    text: Iterable[str | Table],
    request: Any,
    *,
    notes: bool = True,
    about: str = "",
    stream: TextIO | None = None,
    indent: int | None = None,
) -> None:
    """Print a result: as JSON (`as_json`), or as what its renderer for people yields; its notes go to stderr.

    Parameters
    ----------
    result : record, or a list of records
        Its ``notes``, if it has some, are lines for the person.
    text : iterable
        Lines, tables and notes; an iterator that has nothing done yet where JSON is asked for.
    request : record
        Its ``json`` says which, its ``messages`` whether the notes are left out.
    notes : bool
        Whether the notes are not said yet.
    about : str
        What stands before each of them.
    stream : text file, optional
        Standard output by default.
    """
    stream = stream or sys.stdout
    for line in getattr(result, "notes", ()) if notes and not request.messages.quiet else ():
        note(f"{about}{line}")
    if request.json:
        print_json(result, stream, indent)
    for part in () if request.json else text:
        if isinstance(part, Note):
            note(part)
        elif isinstance(part, Table):
            part._replace(rows=[[*map(printable, row)] for row in part.rows]).print(stream)
        else:
            say(part, stream)


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line, standard output by default; what names of files hold never steers a terminal."""
    stream = stream or sys.stdout
    shown = printable(text, keep="\n\t") if stream.isatty() and not isinstance(text, Drawing) else text
    print(shown, file=stream)


def as_json(value: Any) -> Any:
    """Return what JSON holds of a value that it has no form for.

    Of a record that is the attributes that its ``facts`` name, or the mapping that these are; else the text that it is
    written as (a layer, a range), else its fields.  A fraction is a number, an array a list.
    """
    from fractions import Fraction  # 5 ms that text need not wait for

    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    facts = getattr(value, "facts", ())
    if isinstance(facts, dict):
        return facts
    if not facts and type(value).__str__ is not object.__str__:
        return str(value)
    return {name: getattr(value, name) for name in facts or value.__dataclass_fields__}


def print_json(value: Any, stream: TextIO | None = None, indent: int | None = None) -> None:
    """Print a value as JSON, on one line but for an ``indent``; escaped where the stream could not take it."""
    stream = stream or sys.stdout
    text = json_text(value, ensure_ascii=False, indent=indent)
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json_text(value, indent=indent)
    print(text, file=stream)


def json_text(value: Any, **how: Any) -> str:
    """Return a value as JSON; numbers that JSON does not have (NaN, infinity) are null.

    >>> json_text({"values": [1.5, float("nan")]})
    '{"values": [1.5, null]}'
    """
    import json  # 1 ms that other commands need not wait for

    text = json.dumps(value, default=as_json, **how)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda _: None), **how)
    return text
