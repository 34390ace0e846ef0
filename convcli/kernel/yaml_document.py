"""YAML text as plain lists, dictionaries and strings, read from the parser's events.

Nothing is constructed by YAML's own rules (where ``1e-3`` is text, ``no`` is false and ``1:30`` is 90): every
scalar stays the string that was written.  What kernel and net files never need is refused before it can do
harm: aliases, anchors, tags, merge keys, duplicate keys, deep nesting, more than one document.  `Fields` reads one
mapping key by key: every value by its own rule, every error with its place.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

import yaml

from convcli.common import parse_choice, parse_float, parse_number, quoted
from convcli.common.errors import ConvError, UsageError, printable, unreadable, within

Node = str | list["Node"] | dict[str, "Node"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
_PLAIN = r"[+-]?[0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE]-[0-9]{1,3})?"  # a decimal that no float is too small for

T = TypeVar("T")

_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # the C parser where PyYAML was built with it


def read_document(
    path: Path, what: str = "kernel", example: str = "weights: [[1, 0], [0, -1]]"
) -> dict[str, Node]:
    """Read a YAML file that holds one mapping: a kernel, or ``what`` else, of which ``example`` is a key.

    Raises
    ------
    ConvError
        When the file cannot be read.
    UsageError
        When its text is not what a kernel file may hold; says in which line.
    """
    with within(f"{what} file {str(path)!r}"):
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ConvError(unreadable(error)) from None
        if len(data) > MAX_BYTES:
            raise UsageError("larger than 1 MiB; keep large weights in a .npy file and name it in weights:")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError(f"not a text file in UTF-8 (byte {error.start})") from None
        node = parse_document(text, what)
        if not isinstance(node, dict):
            raise UsageError(f"no {what}: it needs keys such as {example}")
        return node


def parse_document(text: str, what: str = "kernel") -> Node:
    """Return the one document of a YAML text; an empty text is an empty string.

    >>> parse_document("a: [1e-3, no]")
    {'a': ['1e-3', 'no']}
    """
    root: Node = ""
    events = _allowed(text, what)
    for event in events:
        if isinstance(event, yaml.NodeEvent):
            root = _node(event, events, what)
    return root


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UsageError(f"{line}not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"not valid YAML: {' '.join(str(error).split())}") from None


def _allowed(text: str, what: str) -> Iterator[yaml.Event]:
    """Yield a text's events, but for what has no place in a file of ours."""
    documents = 0
    for event in _events(text):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refused(event, f"anchors and aliases (& and *) are not used in {what} files")
        if tag := getattr(event, "tag", None):
            raise _refused(event, f"tags such as {quoted(tag)} are not used in {what} files")
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            raise _refused(event, f"a second document; a {what} file holds one")
        yield event


def _node(event: yaml.Event, events: Iterator[yaml.Event], what: str, depth: int = 0) -> Node:
    """Return the node that an event begins; those within it follow among the events."""
    if isinstance(event, yaml.ScalarEvent):
        return printable(event.value, keep="\n\t")  # a stranger's text may come to a terminal
    if depth == MAX_DEPTH:
        raise _refused(event, f"nested more than {MAX_DEPTH} deep")
    inside = takewhile(lambda one: not isinstance(one, yaml.CollectionEndEvent), events)
    if isinstance(event, yaml.SequenceStartEvent):
        return [_node(item, events, what, depth + 1) for item in inside]
    mapping: dict[str, Node] = {}
    for item in inside:
        key = _node(item, events, what, depth + 1)
        if not isinstance(key, str):
            raise _refused(item, "a key must be a word")
        if key == "<<":
            raise _refused(item, f"merge keys (<<) are not used in {what} files")
        if key in mapping:
            raise _refused(item, f"the key {quoted(key)} appears twice")
        mapping[key] = _node(next(events), events, what, depth + 1)
    return mapping


def _refused(event: yaml.Event, problem: str) -> UsageError:
    line = f"line {event.start_mark.line + 1}: " if event.start_mark else ""
    return UsageError(f"{line}{problem}")


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


def nested_numbers(node: Node, exact: bool = False) -> tuple[list[int], list[Fraction | float]]:
    """Return the shape of nested lists of numbers, and the numbers, the last axis fastest.

    Decimals are the nearest floats, unless they are to be ``exact``; fractions are exact.

    >>> nested_numbers([["1", "1/3"]])
    ([1, 2], [1.0, Fraction(1, 3)])
    """
    shape = _shape(node)
    numbers: list[Fraction | float] = []
    _collect(node, shape, (), numbers, exact)
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


def _collect(
    node: Node, shape: list[int], path: tuple[int, ...], numbers: list[Fraction | float], exact: bool
) -> None:
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
    plain = re.compile(_PLAIN).fullmatch
    for index, item in enumerate(node):
        if len(path) == len(shape) - 1 and isinstance(item, str) and plain(item):
            numbers.append(Fraction(item) if exact else float(item))
        else:
            _collect(item, shape, (*path, index), numbers, exact)
