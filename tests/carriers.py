"""The tables of docs/carriers.md: what each kind of result keeps of what files carry.

The tests of `tests.media.test_kept_or_said` hold every cell; ``python -m tests.carriers`` runs them and writes it.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs" / "carriers.md"
_ABOUT = """# What results keep

What files carry beside their samples, and what becomes of it in each format of results. **kept**: the result has it.
*said*: it is left out, and a note says so. refused: the format cannot hold such data, and an error says so. Where a
cell has two words, it depends on the input's format.

`python -m tests.carriers` writes these tables from what the tests find.
"""
_WORDS = {"kept": "**kept**", "said": "*said*", "refused": "refused"}
Cells = dict[tuple[str, str, str], set[str]]  # by table, carrier and result
SEEN: Cells | None = None  # while the tables are written


def holds(table: str, carrier: str, result: str, word: str) -> None:
    """Say what became of a carrier: it must be what the table says."""
    if SEEN is not None:
        SEEN.setdefault((table, carrier, result), set()).add(word)
    else:
        assert word in written().get((table, carrier, result), ()), (table, carrier, result, word)


@cache
def written() -> Cells:
    """Return the tables as they are written."""
    found: Cells = {}
    table, results = "", list[str]()
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            table, results = line[3:], []
        elif line.startswith("|") and not results:
            results = cells[1:]
        elif line.startswith("|") and not line.startswith("|-"):
            for result, cell in zip(results, cells[1:], strict=True):
                found[table, cells[0], result] = {word for word in _WORDS if word in cell}
    return found


def text(cells: Cells) -> str:
    """Return the file."""
    lines = [_ABOUT]
    for table in dict.fromkeys(one for one, _, _ in cells):
        results = list(dict.fromkeys(result for one, _, result in cells if one == table))
        lines += [f"## {table}", "", f"| | {' | '.join(results)} |", f"|{'---|' * (len(results) + 1)}"]
        for carrier in dict.fromkeys(of for one, of, _ in cells if one == table):
            words = [cells.get((table, carrier, result), set()) for result in results]
            row = (", ".join(_WORDS[word] for word in _WORDS if word in each) for each in words)
            lines.append(f"| {carrier} | {' | '.join(row)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    from tests import carriers  # as the tests know it

    carriers.SEEN = {}
    words = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    code = pytest.main([*words, *(f"tests/media/test_{one}.py" for one in ("kept_or_said", "places_kept"))])
    if code == 0:
        DOCS.write_text(text(carriers.SEEN), encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
