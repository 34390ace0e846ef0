"""Which columns of a table are meant, and what they are called.  No cells, no files."""

import difflib
import re
from collections.abc import Sequence

from convcli.common import UsageError

_SHOWN = 12  # names in a message


def name_of(header: tuple[str, ...] | None, index: int) -> str:
    """Return a column's name, or its number from 1 where it has none.

    >>> name_of(("time", ""), 0), name_of(("time", ""), 1), name_of(None, 0)
    ('time', '2', '1')
    """
    name = " ".join(header[index].split()) if header else ""
    return name or str(index + 1)


def listed(names: Sequence[str]) -> str:
    """Return names for a message, the first dozen of them."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def pick(wanted: Sequence[str], header: tuple[str, ...] | None, width: int) -> list[int]:
    """Return the positions of columns: names, numbers from 1, or ranges of numbers; names come first.

    >>> pick(["b", "3-4"], ("a", "b", "c", "d"), 4)
    [1, 2, 3]

    Raises
    ------
    UsageError
        When a column is not there, stands there twice, or none is asked for.
    """
    names = [name.strip() for name in header or ()]
    known = (
        f"names {listed(names)}, or numbers 1-{width}"
        if header
        else f"numbers 1-{width} (there is no header)"
    )
    found: dict[int, None] = {}  # in order, each once
    for text in map(str.strip, wanted):
        numbers = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text, re.ASCII)
        if names.count(text) > 1:
            raise UsageError(f"--columns {text!r}: {names.count(text)} columns are called so; give a number")
        if text in names:
            span = range(names.index(text), names.index(text) + 1)
        elif numbers:
            first, last = int(numbers[1]), int(numbers[2] or numbers[1])
            if not 1 <= first <= last <= width:
                raise UsageError(f"--columns {text!r}: the table has columns 1 to {width}")
            span = range(first - 1, last)
        else:
            nearest = difflib.get_close_matches(text, names, n=1)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise UsageError(f"--columns {text!r}: no such column; {hint}there are the {known}")
        found |= dict.fromkeys(span)
    if not found:
        raise UsageError(f"--columns is empty; there are the {known}")
    return list(found)
