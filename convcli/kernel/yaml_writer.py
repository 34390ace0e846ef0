"""A kernel as the text of a kernel file: what `yaml_file` reads back is the same kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from convcli.geometry.padding import Padding
from convcli.kernel.model import Combine, Kernel


def yaml_text(kernel: Kernel) -> str:
    """Return a kernel's file; numbers are written so that they read back the same.

    >>> print(yaml_text(Kernel("difference", (1, 1, 2), (1.0, -0.1), description="right minus left")), end="")
    name: difference
    description: "right minus left"
    rank: 1
    weights: [1.0, -0.1]
    """
    return "".join(f"{key}: {value}\n" for key, value in _entries(kernel))


def _entries(kernel: Kernel) -> Iterator[tuple[str, str]]:
    yield "name", kernel.name
    if kernel.description:
        yield "description", _quoted(kernel.description)
    yield "rank", str(kernel.rank)
    leading = kernel.shape[:2] if kernel.inputs > 1 else kernel.shape[:1] if kernel.outputs > 1 else ()
    yield "weights", _nested(kernel.weights, (*leading, *kernel.size), len("weights: "))
    if any(kernel.bias):
        yield "bias", _list(kernel.bias)
    if not kernel.centred or kernel.origin != tuple((k - 1) // 2 for k in kernel.size):
        yield "origin", _list(kernel.origin)
    if kernel.combine is not Combine.NONE:
        yield "combine", kernel.combine
    if kernel.display is not None:
        yield "display", str(kernel.display)
    defaults = kernel.defaults
    if defaults.stride is not None:
        yield "stride", _list(defaults.stride)
    if defaults.padding is not None:
        yield "padding", f"[{', '.join(map(_padding, defaults.padding))}]"
    if defaults.pad_mode is not None:
        yield "pad_mode", defaults.pad_mode
    if defaults.dilation is not None:
        yield "dilation", _list(defaults.dilation)
    if defaults.flip is not None:
        yield "flip", str(defaults.flip).lower()
    if defaults.pool is not None:
        yield "pool", _quoted(defaults.pool)
    if kernel.source:
        yield "source", _quoted(kernel.source)


def _quoted(text: str) -> str:
    # YAML's double quotes know JSON's escapes, but no surrogate pairs; what is printable needs none.
    return json.dumps("".join(c if c.isprintable() else " " for c in text), ensure_ascii=False)


def _list(values: Sequence[float]) -> str:
    return f"[{', '.join(map(repr, values))}]"


def _padding(padding: Padding) -> str:
    return f'"{padding[0]}:{padding[1]}"' if isinstance(padding, tuple) else padding.value


def _nested(flat: Sequence[float], shape: Sequence[int], indent: int) -> str:
    """Return numbers as nested lists, each row on a line of its own."""
    if len(shape) == 1:
        return _list(flat)
    step = len(flat) // shape[0]
    parts = (_nested(flat[at : at + step], shape[1:], indent + 1) for at in range(0, len(flat), step))
    return f"[{(',' + chr(10) + ' ' * (indent + 1)).join(parts)}]"
