"""Hypothesis' own ways to make a case of each reader: what it finds it makes small."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import seeds
from tests.fuzz.readers import YAML, Reader
from tests.fuzz.structure import png_with_checksums

CELLS = (
    ",",
    ";",
    "\t",
    "|",
    "\n",
    "\r\n",
    '"',
    "1",
    "2.5",
    "-",
    "e9",
    "NaN",
    "a",
    "é",
    " ",
    "0x1",
    "1,5",
    "\x00",
    "'",
)


@st.composite
def edited(draw: st.DrawFn, files: tuple[bytes, ...]) -> bytes:
    """A whole file with some bytes set anew, perhaps cut short."""
    data = bytearray(draw(st.sampled_from(files)))
    places = st.integers(0, len(data) - 1)
    for place, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)):
        data[place] = value
    stop = draw(st.none() | places)
    return bytes(data[:stop])


def joined(tokens: tuple[str, ...], longest: int = 12) -> st.SearchStrategy[str]:
    """Tokens and odd letters one behind the other."""
    return st.lists(st.sampled_from(tokens) | st.text(max_size=2), max_size=longest).map("".join)


def cases(reader: Reader) -> st.SearchStrategy[Any]:
    """Return what makes the cases of a reader."""
    encode = partial(str.encode, errors="surrogatepass")
    if reader.name in ("python", "command line"):
        return st.randoms(use_true_random=False)
    if reader.tokens:
        return joined(reader.tokens)
    if reader.name.endswith("yaml"):
        return joined(YAML, 30).map(encode) | edited(seeds.yamls(reader.name))
    files = edited(seeds.files("png" if reader.name == "numbered" else reader.name))
    if reader.name in ("csv", "tsv", "labels"):
        return joined(CELLS, 40).map(encode) | files
    return files.map(png_with_checksums) if reader.name in ("png", "apng", "numbered") else files
