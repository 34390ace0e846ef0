"""A kernel from a YAML file, each key read strictly into the types of `model`; and as the text of such a file.

What the keys mean stands in ``kernel.schema.json`` beside the library; the two are tested against each other.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from convcli.common import (
    UsageError,
    parse_choice,
    parse_number,
    parse_numbers,
    per_axis,
    quoted,
    to_float,
    within,
)
from convcli.geometry.padding import PadMode, parse_padding
from convcli.geometry.pools import PoolKind
from convcli.kernel.array_file import is_array_file, read_array
from convcli.kernel.model import MAX_RANK, Combine, Defaults, Kernel, full_shape, nested, slug
from convcli.kernel.parametric import FORMULAS, parse_parametric
from convcli.kernel.yaml_document import MAX_BYTES, Fields, Node, nested_numbers, read_document, truth
from convcli.pixels.ranges import parse_range

KEYS = (
    "name", "description", "rank", "weights", "parametric", "scale", "bias", "origin", "combine",
    "range", "stride", "padding", "pad_mode", "dilation", "flip", "pool", "axis", "source",
)  # fmt: skip
_PER_AXIS = ("bias", "origin", "stride", "padding", "dilation")  # one value, or a list of them

T = TypeVar("T")
Numbers = Sequence[Fraction | float]


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
        fields = _Fields(document, path)
        fields.only(KEYS)
        if ("weights" in document) == ("parametric" in document):
            raise UsageError("one of weights: and parametric: is needed, and not both")
        return fields.kernel(rank)


class _Fields(Fields):
    """The keys of one file, each read by its own rule."""

    def __init__(self, document: dict[str, Node], path: Path) -> None:
        super().__init__(document)
        self.path = path

    def kernel(self, rank_hint: int) -> Kernel:
        scale = self.optional("scale", parse_number)
        shape, numbers, statistic = self.weights(rank_hint, exact=scale is not None)
        rank = len(shape) - 2
        if scale is not None:
            numbers = [Fraction(number) * scale for number in numbers]
        return Kernel(
            name=self.optional("name", _name) or self.path.stem,
            shape=shape,
            weights=tuple(to_float(number, "weights") for number in numbers),
            bias=self.bias(shape[0]),
            origin=self.optional("origin", lambda text: _origin(text, rank)) or (),
            combine=self.choice("combine", Combine, Combine.NONE),
            display=self.optional("range", parse_range),
            description=self.text("description"),
            source=self.text("source"),
            defaults=Defaults(
                **{key: self.optional(key, partial(read, rank)) for key, read in _DEFAULTS.items()}
            ),
            slug=slug(self.path.stem),
            statistic=statistic,
        )

    def optional(self, key: str, reader: Callable[[str], T]) -> T | None:
        """Return what `reader` makes of a key's text, None without it; only some keys take lists."""
        return self.read(key, reader, None, one=key not in _PER_AXIS)

    def weights(self, rank_hint: int, exact: bool) -> tuple[tuple[int, ...], Numbers, PoolKind | None]:
        rank = self.optional("rank", _rank)
        formula = self.optional("parametric", lambda text: _parametric(text, rank, rank_hint))
        if formula is not None:
            return formula.shape, formula.weights, formula.statistic
        node = self.node["weights"]
        with within("weights"):
            if isinstance(node, str) and is_array_file(node):
                stored = read_array(str(self.path.parent / node), rank=rank)
                return stored.shape, stored.weights, None
            shape, numbers = nested_numbers(node, exact)
            return full_shape(shape, rank), numbers, None

    def bias(self, outputs: int) -> tuple[float, ...]:
        text = self.optional("bias", str)
        if text is None:
            return ()
        values = tuple(to_float(parse_number(part, "bias"), "bias") for part in text.split(","))
        return values * outputs if len(values) == 1 else values


def _parametric(text: str, rank: int | None, rank_hint: int) -> Kernel:
    if text.partition(":")[0] not in FORMULAS:
        near = get_close_matches(text.partition(":")[0], FORMULAS, n=1) or ["gaussian:2"]
        raise UsageError(
            f"{quoted(text)} is unknown: give a formula, such as {near[0]} (see `convcli kernels list`)"
        )
    kernel = parse_parametric(text, rank or rank_hint, stored=0)  # a file of a few bytes
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


def _integers(rank: int, text: str) -> tuple[int, ...]:
    return per_axis(parse_numbers(text, "value"), rank, "value")


def _axis(rank: int, text: str) -> str:
    if set(text) - set("tzyx") or not len(text) == len(set(text)) == rank:
        raise UsageError(
            f"{quoted(text)} is not possible: give one of t, z, y, x for each axis of the kernel ({rank})"
        )
    return text


def yaml_text(kernel: Kernel) -> str:
    """Return a kernel's file; numbers are written so that they read back the same.

    >>> print(yaml_text(Kernel("difference", (1, 1, 2), (1.0, -0.1), description="right minus left")), end="")
    name: difference
    description: right minus left
    rank: 1
    weights: [1.0, -0.1]
    """
    leading = kernel.shape[:2] if kernel.inputs > 1 else kernel.shape[:1] if kernel.outputs > 1 else ()
    usual = kernel.centred and kernel.origin == tuple((k - 1) // 2 for k in kernel.size)
    entries = {
        "name": kernel.name,
        "description": kernel.description or None,
        "rank": kernel.rank,
        "weights": nested(kernel.weights, (*leading, *kernel.size)),
        "bias": kernel.bias if any(kernel.bias) else None,
        "origin": None if usual else kernel.origin,
        "combine": None if kernel.combine is Combine.NONE else kernel.combine,
        "range": kernel.display,
        **vars(kernel.defaults),
        "source": kernel.source or None,
    }
    given = {key: _plain(value) for key, value in entries.items() if value is not None}
    how: dict[str, Any] = {"sort_keys": False, "default_flow_style": None, "allow_unicode": True}
    return str(yaml.dump(given, Dumper=_Dumper, width=MAX_BYTES, **how))


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    def ignore_aliases(self, data: object) -> bool:
        """Write equal lists in full: kernel files have no aliases."""
        return True


def _plain(value: Any) -> Any:
    """Return a value as YAML has it: lists, numbers, and texts, such as ``1:0`` for a padding."""
    if isinstance(value, tuple):
        return [":".join(map(str, one)) if isinstance(one, tuple) else _plain(one) for one in value]
    if isinstance(value, list | int | float):
        return value
    return "".join(sign if sign.isprintable() else " " for sign in str(value))


# How each default is read, in a kernel of a rank.
_DEFAULTS: Mapping[str, Callable[[int, str], Any]] = {
    "stride": _integers,
    "padding": lambda rank, text: per_axis(parse_padding(text), rank, "value"),
    "pad_mode": lambda _, text: parse_choice(PadMode, text, "pad mode"),
    "dilation": _integers,
    "flip": lambda _, text: truth(text),
    "pool": lambda _, text: text,
    "axis": _axis,
}
