"""Convolution on arrays and files: the Python side of the command.

The verbs are those of the shell: :func:`filter`, :func:`motion` and :func:`shape`; :class:`Kernel` holds weights.
Nothing heavy is imported before it is used.

>>> import convcli
>>> convcli.shape("3@32x32", "conv:6@5x5")
'6@28x28'
"""

from __future__ import annotations

# As type checkers know it, without `typing`: an interrupt here, before the command can answer, is a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from convcli.api import filter, motion, shape
    from convcli.kernel import load_kernel
    from convcli.kernel.model import Kernel

__all__ = ["Kernel", "filter", "load_kernel", "motion", "shape"]

_HOMES = {
    "filter": "convcli.api",
    "shape": "convcli.api",
    "motion": "convcli.api",
    "load_kernel": "convcli.kernel",
    "Kernel": "convcli.kernel.model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'convcli' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
