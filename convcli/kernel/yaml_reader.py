"""A kernel from a YAML file: each key read strictly, into the types of `model`.

What the keys mean stands in ``kernel.schema.json`` beside the library; the two are tested against each other.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from convcli.common.errors import UsageError, within
from convcli.common.numbers import parse_number, quoted, to_float
from convcli.geometry.axes import parse_numbers, per_axis
from convcli.geometry.padding import parse_pad_mode, parse_padding
from convcli.kernel.array_file import is_array_file, read_array
from convcli.kernel.model import MAX_RANK, Combine, Defaults, Kernel, full_shape, slug
from convcli.kernel.parametric import FORMULAS, parse_parametric
from convcli.kernel.yaml_document import Node, read_document
from convcli.pixels.ranges import parse_range

KEYS = (
    "name", "description", "rank", "weights", "parametric", "scale", "bias", "origin", "combine",
    "display", "stride", "padding", "pad_mode", "dilation", "flip", "pool", "source",
)  # fmt: skip
_PER_AXIS = ("bias", "origin", "stride", "padding", "dilation")  # one value, or a list of them

T = TypeVar("T")
Numbers = Sequence[Fraction] | Sequence[float]


def load_yaml(path: Path, rank: int = 2) -> Kernel:
    """Read a kernel file.

    Parameters
    ----------
    path
        The file; weights that it names in other files are looked for in its folder.
    rank
        For ``parametric:`` weights that leave their rank open.

    Raises
    ------
    ConvError
        When a file cannot be read.
    UsageError
        For a key or value that is not possible: names the file, the key, the value and what is valid.
    """
    document = read_document(path)
    with within(f"kernel file {str(path)!r}"):
        for key in document:
            if key not in KEYS:
                near = difflib.get_close_matches(key, KEYS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(KEYS)}"
                raise UsageError(f"the key {quoted(key)} is unknown; {hint}")
        if ("weights" in document) == ("parametric" in document):
            raise UsageError("one of weights: and parametric: is needed, and not both")
        return _Fields(document, path).kernel(rank)


class _Fields:
    """The keys of one file, each read by its own rule."""

    def __init__(self, document: dict[str, Node], path: Path) -> None:
        self.document = document
        self.path = path

    def kernel(self, rank_hint: int) -> Kernel:
        shape, numbers = self.weights(rank_hint)
        rank = len(shape) - 2
        scale = self.read("scale", parse_number)
        if scale is not None:
            numbers = [Fraction(number) * scale for number in numbers]
        return Kernel(
            name=self.read("name", _name) or self.path.stem,
            shape=shape,
            weights=tuple(to_float(number, "weights") for number in numbers),
            bias=self.bias(shape[0]),
            origin=self.read("origin", lambda text: _origin(text, rank)) or (),
            combine=self.read("combine", _combine) or Combine.NONE,
            display=self.read("display", parse_range),
            description=self.read("description", str) or "",
            source=self.read("source", str) or "",
            defaults=Defaults(
                stride=self.read("stride", lambda text: _integers(text, rank)),
                padding=self.read("padding", lambda text: per_axis(parse_padding(text), rank, "value")),
                pad_mode=self.read("pad_mode", parse_pad_mode),
                dilation=self.read("dilation", lambda text: _integers(text, rank)),
                flip=self.read("flip", _truth),
                pool=self.read("pool", str),
            ),
            slug=slug(self.path.stem),
        )

    def read(self, key: str, reader: Callable[[str], T]) -> T | None:
        """Return what `reader` makes of a key's text, values of a list joined by commas; None without it."""
        if key not in self.document:
            return None
        node = self.document[key]
        with within(key):
            if isinstance(node, list) and node and key in _PER_AXIS:
                return reader(",".join(_scalar(item) for item in node))
            return reader(_scalar(node))

    def weights(self, rank_hint: int) -> tuple[tuple[int, ...], Numbers]:
        rank = self.read("rank", _rank)
        formula = self.read("parametric", lambda text: _parametric(text, rank, rank_hint))
        if formula is not None:
            return formula.shape, formula.weights
        node = self.document["weights"]
        with within("weights"):
            if isinstance(node, str) and is_array_file(node):
                stored = read_array(str(self.path.parent / node), rank=rank)
                return stored.shape, stored.weights
            shape, numbers = nested_numbers(node)
            return full_shape(shape, rank), numbers

    def bias(self, outputs: int) -> tuple[float, ...]:
        text = self.read("bias", str)
        if text is None:
            return ()
        values = tuple(to_float(parse_number(part, "bias"), "bias") for part in text.split(","))
        return values * outputs if len(values) == 1 else values


def nested_numbers(node: Node) -> tuple[list[int], list[Fraction]]:
    """Return the shape of nested lists of numbers, and the numbers, the last axis fastest.

    >>> nested_numbers([["1", "1/3"]])
    ([1, 2], [Fraction(1, 1), Fraction(1, 3)])
    """
    shape = _shape(node)
    numbers: list[Fraction] = []
    _collect(node, shape, (), numbers)
    return shape, numbers


def _scalar(node: Node, place: str = "") -> str:
    if not isinstance(node, str):
        raise UsageError(
            f"{place}one value is needed, not a {'list' if isinstance(node, list) else 'mapping'}"
        )
    return node.strip()


def _shape(node: Node) -> list[int]:
    shape = []
    while isinstance(node, list):
        shape.append(len(node))
        node = node[0] if node else ""
    if not shape:
        raise UsageError("a list of numbers is needed, or the name of a .npy, .npz or .safetensors file")
    if not all(shape):
        raise UsageError("an empty list")
    return shape


def _collect(node: Node, shape: list[int], path: tuple[int, ...], numbers: list[Fraction]) -> None:
    """Append the numbers of nested lists, which must have the shape of the first ones."""
    place = "row " + ".".join(str(index + 1) for index in path)  # rows of frames are counted as 2.1
    if len(path) == len(shape):
        entry = place.replace("row", "entry")
        numbers.append(parse_number(_scalar(node, f"{entry}: "), entry))
        return
    if not isinstance(node, list):
        raise UsageError(
            f"{place} is {quoted(node)}: a list of {shape[len(path)]} is needed, as in the first row"
        )
    if len(node) != shape[len(path)]:
        raise UsageError(f"{place} has {len(node)} entries, the first has {shape[len(path)]}")
    for index, item in enumerate(node):
        _collect(item, shape, (*path, index), numbers)


def _parametric(text: str, rank: int | None, rank_hint: int) -> Kernel:
    if text.partition(":")[0] not in FORMULAS:
        raise UsageError(f"{quoted(text)} is unknown: it begins with one of {', '.join(FORMULAS)}")
    kernel = parse_parametric(text, rank or rank_hint)
    if rank not in (None, kernel.rank):
        raise UsageError(f"{quoted(text)} is of rank {kernel.rank}, and rank: says {rank}")
    return kernel


def _name(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise UsageError(f"{quoted(text)} is not possible: letters, digits, '.', '_' and '-' make a name")
    return text


def _rank(text: str) -> int:
    if text not in map(str, range(1, MAX_RANK + 1)):
        raise UsageError(f"{quoted(text)} is not possible: it is 1, 2 or 3")
    return int(text)


def _origin(text: str, rank: int) -> tuple[int, ...]:
    return () if text == "center" else per_axis(parse_numbers(text, "index", 0), rank, "index")


def _integers(text: str, rank: int) -> tuple[int, ...]:
    return per_axis(parse_numbers(text, "value"), rank, "value")


def _combine(text: str) -> Combine:
    if text not in tuple(Combine):
        raise UsageError(f"{quoted(text)} is unknown: use {', '.join(Combine)}")
    return Combine(text)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{quoted(text)} is not possible: it is true or false")
    return text == "true"
