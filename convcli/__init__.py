"""Convolution on arrays and files: the Python side of the command.

The verbs are those of the shell: :func:`filter`, :func:`motion`, :func:`shape`, :func:`matrix`, :func:`explain`,
:func:`learn` and :func:`net`; :func:`filter_file` takes files, and :class:`Kernel` holds weights.
What fails raises :class:`ConvError`, and :class:`UsageError` (a ValueError too) where an argument is at fault.
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

    from convcli.api import explain, filter, filter_file, learn, matrix, motion, net, shape
    from convcli.common.errors import ConvError, UsageError
    from convcli.kernel import load_kernel
    from convcli.kernel.model import Kernel

    __version__: str

__all__ = [
    "ConvError",
    "Kernel",
    "UsageError",
    "explain",
    "filter",
    "filter_file",
    "learn",
    "load_kernel",
    "matrix",
    "motion",
    "net",
    "shape",
]

_HOMES = {
    **dict.fromkeys(
        ("explain", "filter", "filter_file", "learn", "matrix", "motion", "net", "shape"), "convcli.api"
    ),
    "load_kernel": "convcli.kernel",
    "Kernel": "convcli.kernel.model",
    "ConvError": "convcli.common.errors",
    "UsageError": "convcli.common.errors",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("convcli")
    if name not in _HOMES:
        raise AttributeError(f"module 'convcli' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", *(name for name in globals() if name.startswith("__"))])
