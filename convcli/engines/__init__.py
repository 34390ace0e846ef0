"""The engines: two ways to compute the same numbers, behind one interface (`convcli.engines.base.Engine`).

numpy starts fast and is the reference; torch is loaded only when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convcli.common import ConvError, UsageError

if TYPE_CHECKING:
    from convcli.engines.base import Engine

NAMES = ("numpy", "torch")


def get_engine(name: str, device: str = "cpu", threads: int | None = None) -> Engine:
    """Return the engine of this name.

    Parameters
    ----------
    name : str
        ``numpy`` or ``torch``.
    device : str
        ``cpu``, or for torch also ``cuda`` (``cuda:1`` is the second one).
    threads : int, optional
        Processor threads; by default as many as the process may use.

    Raises
    ------
    UsageError
        No such engine, or the engine has no such device.
    ConvError
        torch is not installed.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads are not possible: use 1 or more")
    if name == "numpy":
        from convcli.engines.on_numpy.engine import NumpyEngine

        if device != "cpu":
            raise UsageError(f"the numpy engine runs on the cpu only, not on {device!r}: use --engine torch")
        return NumpyEngine(threads)
    if name == "torch":
        try:
            from convcli.engines.on_torch.engine import TorchEngine
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ConvError(
                "the torch engine needs torch: pip install torch, or use --engine numpy"
            ) from None
        return TorchEngine(device, threads)
    raise UsageError(f"unknown engine {name!r}: use {' or '.join(NAMES)}")
