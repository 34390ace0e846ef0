"""YAML text as plain lists, dictionaries and strings, read from the parser's events.

Nothing is constructed by YAML's own rules (where ``1e-3`` is text, ``no`` is false and ``1:30`` is 90): every
scalar stays the string that was written.  What kernel and net files never need is refused before it can do
harm: aliases, anchors, tags, merge keys, duplicate keys, deep nesting, more than one document.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from convcli.common.errors import ConvError, UsageError, unreadable, within
from convcli.common.numbers import printable, quoted

Node = str | list["Node"] | dict[str, "Node"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 16

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
    builder = _Builder(what)
    for event in _events(text):
        builder.take(event)
    return builder.root


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UsageError(f"{line}not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"not valid YAML: {' '.join(str(error).split())}") from None


class _Builder:
    """Puts events together; keeps its own stack, so that no nesting can exhaust Python's."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.root: Node = ""
        self.documents = 0
        self.open: list[list[Node] | dict[str, Node]] = []
        self.keys: list[str | None] = []  # for each open mapping the key that waits for its value

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self.refuse(event, f"anchors and aliases (& and *) are not used in {self.what} files")
        if tag := getattr(event, "tag", None):
            self.refuse(event, f"tags such as {quoted(tag)} are not used in {self.what} files")
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.refuse(event, f"a second document; a {self.what} file holds one")
        elif isinstance(event, yaml.ScalarEvent):
            self.place(event, printable(event.value, keep="\n\t"))  # a stranger's text may come to a terminal
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(self.open) == MAX_DEPTH:
                self.refuse(event, f"nested more than {MAX_DEPTH} deep")
            node: list[Node] | dict[str, Node] = {} if isinstance(event, yaml.MappingStartEvent) else []
            self.place(event, node)
            self.open.append(node)
            self.keys.append(None)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.open.pop()
            self.keys.pop()

    def place(self, event: yaml.Event, node: Node) -> None:
        if not self.open:
            self.root = node
            return
        parent, key = self.open[-1], self.keys[-1]
        if isinstance(parent, list):
            parent.append(node)
        elif key is not None:
            parent[key] = node
            self.keys[-1] = None
        else:
            if not isinstance(node, str):
                self.refuse(event, "a key must be a word")
            if node == "<<":
                self.refuse(event, f"merge keys (<<) are not used in {self.what} files")
            if node in parent:
                self.refuse(event, f"the key {quoted(node)} appears twice")
            self.keys[-1] = str(node)

    def refuse(self, event: yaml.Event, problem: str) -> None:
        line = f"line {event.start_mark.line + 1}: " if event.start_mark else ""
        raise UsageError(f"{line}{problem}")
