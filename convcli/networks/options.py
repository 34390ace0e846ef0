"""The options of a layer in a net's file: those of any mapping, seeds, and files of weights; no layers."""

from __future__ import annotations

from pathlib import Path

from convcli.common.errors import UsageError, within
from convcli.common.numbers import parse_float, quoted, to_float
from convcli.geometry.axes import parse_numbers
from convcli.geometry.padding import Padding, PadMode, parse_pad_mode, parse_padding
from convcli.kernel.yaml_document import Node
from convcli.kernel.yaml_fields import Fields, nested_numbers
from convcli.networks.parameters import Fill, Numbers, Random, Stored
from convcli.networks.weight_files import is_weights_file, load_weights


class Options(Fields):
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
        super().__init__(node)
        self.folder = folder
        self.seed = seed
        self.classes = classes

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
        return Stored(place, load_weights(place).shape, swapped)

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
