"""One mapping of a YAML file, read key by key: every value by its own rule, every error with its place.

Knows numbers, lists and files of weights, and no layers.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from convcli.common.choices import parse_choice
from convcli.common.errors import UsageError, within
from convcli.common.numbers import parse_float, quoted, to_float
from convcli.geometry.axes import parse_numbers
from convcli.geometry.padding import Padding, PadMode, parse_pad_mode, parse_padding
from convcli.kernel.yaml_document import Node
from convcli.kernel.yaml_reader import nested_numbers
from convcli.networks.parameters import Fill, Numbers, Random, Stored
from convcli.networks.weight_files import is_weights_file, stored_shape

T = TypeVar("T")


class Options:
    """The keys of one mapping.

    Parameters
    ----------
    node
        What stands behind the layer's name; an empty text is no options.
    folder
        Where files that it names are looked for.
    seed
        The whole net's, for weights without a source of their own.
    classes
        What the word ``num_classes`` stands for; 0 is nothing.
    """

    def __init__(
        self, node: Node, folder: Path, seed: tuple[int, ...] | None = None, classes: int = 0
    ) -> None:
        if not node and isinstance(node, str):
            node = {}
        if not isinstance(node, dict):
            shown = quoted(node) if isinstance(node, str) else "a list"
            raise UsageError(f"options are needed in braces, {{key: value}}, not {shown}")
        self.node = node
        self.folder = folder
        self.seed = seed
        self.classes = classes

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

    def read(self, key: str, reader: Callable[[str], T], default: T) -> T:
        """Return what `reader` makes of a key's text, a list's values joined by commas."""
        if key not in self.node:
            return default
        node = self.node[key]
        with within(key):
            return reader(",".join(map(scalar, node)) if isinstance(node, list) else scalar(node))

    def text(self, key: str, default: str = "") -> str:
        return self.read(key, str, default)

    def whole(self, key: str, default: int, minimum: int = 1) -> int:
        def one(text: str) -> int:
            if text == "num_classes":
                if not self.classes:
                    raise UsageError("num_classes is not set; write num_classes: 10 above the layers")
                return self.classes
            numbers = parse_numbers(text, "the number", minimum)
            if len(numbers) > 1:
                raise UsageError(f"{quoted(text)}: one number is needed")
            return numbers[0]

        return self.read(key, one, default)

    def wholes(self, key: str, default: tuple[int, ...], minimum: int = 1) -> tuple[int, ...]:
        return self.read(key, lambda text: parse_numbers(text, "the value", minimum), default)

    def number(self, key: str, default: float) -> float:
        return self.read(key, lambda text: parse_float(text, "the value"), default)

    def numbers(self, key: str) -> tuple[float, ...]:
        return self.read(key, lambda text: tuple(parse_float(part, "value") for part in text.split(",")), ())

    def truth(self, key: str, default: bool = False) -> bool:
        return self.read(key, _truth, default)

    def choice(self, key: str, choices: Iterable[T], default: T) -> T:
        return self.read(key, lambda text: parse_choice(choices, text, "the value"), default)

    def padding(self, default: tuple[Padding, ...] = ((0, 0),)) -> tuple[Padding, ...]:
        return self.read("padding", parse_padding, default)

    def pad_mode(self, default: PadMode = PadMode.ZERO) -> PadMode:
        return self.read("pad_mode", parse_pad_mode, default)

    def seeded(self) -> Random:
        """Return the random numbers of this layer: its own seed, else the net's, else none yet."""
        if "seed" in self.node:
            return Random((self.whole("seed", 0, minimum=0),))
        return Random(self.seed)

    def stored(self, text: str, *, swapped: bool = False) -> Stored:
        """Return the array that ``FILE`` or ``FILE#KEY`` names, beside the net's own file."""
        place = str(self.folder / text)
        return Stored(place, stored_shape(place), swapped)

    def channelwise(self, key: str, default: Fill) -> Fill:
        """Read one number, a list of them, or a file, for the channels of a layer."""
        if key not in self.node:
            return default
        node = self.node[key]
        with within(key):
            if isinstance(node, str):
                if is_weights_file(node):
                    return self.stored(node)
                return Numbers((parse_float(node, "the value"),))
            shape, numbers = nested_numbers(node)
            if len(shape) != 1:
                raise UsageError(f"a list of numbers is needed, not lists {len(shape)} deep")
            return Numbers(tuple(to_float(number, "value") for number in numbers))


def nearest(text: str, names: list[str]) -> str:
    """Return a hint: the name that was meant, else all of them."""
    near = difflib.get_close_matches(text, names, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"


def scalar(node: Node) -> str:
    if not isinstance(node, str):
        raise UsageError(f"one value is needed, not a {'list' if isinstance(node, list) else 'mapping'}")
    return node.strip()


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{quoted(text)} is not possible: it is true or false")
    return text == "true"
