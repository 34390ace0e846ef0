"""One mapping of a YAML file, read key by key: every value by its own rule, every error with its place.

Shared by the readers of kernels and of nets.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import TypeVar

from convcli.common.choices import parse_choice
from convcli.common.errors import UsageError, within
from convcli.common.numbers import parse_float, parse_number, quoted
from convcli.kernel.yaml_document import Node

T = TypeVar("T")


class Fields:
    """The keys of one mapping; an empty text is a mapping without keys."""

    def __init__(self, node: Node) -> None:
        if not node and isinstance(node, str):
            node = {}
        if not isinstance(node, dict):
            shown = quoted(node) if isinstance(node, str) else "a list"
            raise UsageError(f"options are needed in braces, {{key: value}}, not {shown}")
        self.node = node

    def __contains__(self, key: str) -> bool:
        return key in self.node

    def only(self, known: Iterable[str]) -> None:
        """Refuse every other key; the nearest known one is suggested."""
        names = list(known)
        for key in self.node:
            if key not in names:
                raise UsageError(f"the key {quoted(key)} is unknown; {nearest(key, names)}")

    def needs(self, *keys: str) -> None:
        for key in keys:
            if key not in self.node:
                raise UsageError(f"{key}: is needed")

    def read(self, key: str, reader: Callable[[str], T], default: T, *, one: bool = False) -> T:
        """Return what `reader` makes of a key's text, a list's values joined by commas.

        Parameters
        ----------
        one : bool
            Refuse a list.
        """
        if key not in self.node:
            return default
        node = self.node[key]
        with within(key):
            lists = isinstance(node, list) and node and not one
            return reader(",".join(map(scalar, node)) if lists else scalar(node))

    def text(self, key: str, default: str = "") -> str:
        return self.read(key, str, default, one=True)

    def number(self, key: str, default: float) -> float:
        return self.read(key, lambda text: parse_float(text, "the value"), default)

    def numbers(self, key: str) -> tuple[float, ...]:
        return self.read(key, lambda text: tuple(parse_float(part, "value") for part in text.split(",")), ())

    def truth(self, key: str, default: bool = False) -> bool:
        return self.read(key, truth, default, one=True)

    def choice(self, key: str, choices: Iterable[T], default: T) -> T:
        return self.read(key, lambda text: parse_choice(choices, text, "the value"), default)


def nearest(text: str, names: list[str]) -> str:
    """Return a hint: the name that was meant, else all of them."""
    near = difflib.get_close_matches(text, names, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"


def scalar(node: Node, place: str = "") -> str:
    """Return the text of a value that is neither a list nor a mapping, in one line."""
    if not isinstance(node, str):
        kind = "list" if isinstance(node, list) else "mapping"
        raise UsageError(f"{place}one value is needed, not a {kind}")
    return " ".join(node.strip().splitlines())


def truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{quoted(text)} is not possible: it is true or false")
    return text == "true"


def nested_numbers(node: Node) -> tuple[list[int], list[Fraction]]:
    """Return the shape of nested lists of numbers, and the numbers, the last axis fastest.

    >>> nested_numbers([["1", "1/3"]])
    ([1, 2], [Fraction(1, 1), Fraction(1, 3)])
    """
    shape = _shape(node)
    numbers: list[Fraction] = []
    _collect(node, shape, (), numbers)
    return shape, numbers


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
        numbers.append(parse_number(scalar(node, f"{entry}: "), entry))
        return
    if not isinstance(node, list):
        raise UsageError(
            f"{place} is {quoted(node)}: a list of {shape[len(path)]} is needed, as in the first row"
        )
    if len(node) != shape[len(path)]:
        raise UsageError(f"{place} has {len(node)} entries, the first has {shape[len(path)]}")
    for index, item in enumerate(node):
        _collect(item, shape, (*path, index), numbers)
