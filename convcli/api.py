"""The Python verbs: the same jobs as in the shell, on arrays."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convcli.common.choices import Channels, Nan, Precision, parse_choice
from convcli.common.errors import UsageError
from convcli.common.machine import available_threads
from convcli.data.arrays import ArraySource
from convcli.data.info import SPACE
from convcli.engines import get_engine
from convcli.execution.blocks import execute
from convcli.geometry.axes import parse_numbers
from convcli.geometry.grammar import parse_layers, parse_pool, parse_size
from convcli.geometry.layers import format_size, trace
from convcli.geometry.padding import Padding, parse_pad_mode, parse_padding
from convcli.jobs.bind import Settings
from convcli.jobs.draft import default_rank, draft
from convcli.kernel import load_kernel
from convcli.kernel.model import Kernel
from convcli.pixels.ranges import parse_range
from convcli.pixels.render import Tally
from convcli.plan.choose import EngineName, choose

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Numbers = int | Sequence[int]


def filter(
    array: ArrayLike,
    kernel: str | Kernel | ArrayLike | Sequence[str | Kernel | np.ndarray] | None = None,
    *,
    stride: Numbers | None = None,
    padding: str | int | Sequence[int | tuple[int, int]] | None = None,
    pad_mode: str | None = None,
    pad_value: float | None = None,
    dilation: Numbers | None = None,
    bias: float | Sequence[float] | None = None,
    flip: bool | None = None,
    transpose: bool = False,
    output_padding: Numbers = 0,
    pool: str | None = None,
    range: str = "float",
    channels: str = "each",
    axis: str | None = None,
    axes: str | None = None,
    nan: str = "propagate",
    dtype: str = "auto",
    engine: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
) -> np.ndarray:
    """Filter an array; every option means what it means in the shell.

    Parameters
    ----------
    array : array_like
        Numbers in 1 to 4 dimensions (5 with ``axes``).
    kernel : str, Kernel, array_like, or a list of these
        A name, ``name:parameters``, a file or inline text; a Kernel; weights (up to three dimensions are
        space, four are out × in × y × x).  A list of names or Kernels is applied in turn.
    padding : str, int, or one for each axis
        A name such as ``same``, a number, or pairs (before, after).  Without it and without ``pad_mode``:
        same size with replicated edges.
    range : str
        ``float`` keeps the numbers; ``clip`` and others give the input's integer type.
    axes : str
        Letters of the array's dimensions, e.g. ``YXC``; by default every dimension is space.

    Returns
    -------
    ndarray
        Axes in the input's order; a bank's maps are a new first dimension, or take the place of the channels
        that they sum over.

    Raises
    ------
    convcli.common.errors.UsageError
        Options that make no sense for this array, unknown names.

    >>> import numpy as np
    >>> filter([-1, 4, 11, 14, 21, 25, 30], "smooth3", padding="valid").round(2).tolist()
    [4.62, 9.57, 15.18, 19.8, 25.08]
    >>> filter(np.eye(3, dtype="uint8") * 90, "box:3", range="clip").dtype
    dtype('uint8')
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads {threads} is not possible: give 1 or more")
    if isinstance(array, np.ma.MaskedArray):
        raise UsageError("a masked array cannot be filtered: fill it, e.g. with NaN, and give nan='skip'")
    data = np.asarray(array)
    if data.dtype.kind == "b":
        data = data.astype(np.uint8)
    if data.dtype.kind not in "iuf":
        raise UsageError(f"an array of type {data.dtype} cannot be filtered: give real numbers")
    source = ArraySource(data, _axes(data.shape, axes))
    info = source.info
    settings = Settings(
        stride=_numbers(stride),
        padding=_padding(padding),
        pad_mode=None if pad_mode is None else parse_pad_mode(pad_mode),
        pad_value=pad_value,
        dilation=_numbers(dilation),
        bias=None if bias is None else _bias(bias),
        flip=flip,
        transposed=transpose,
        output_padding=_numbers(output_padding) or (0,),
        axis=axis,
        pool=None if pool is None else parse_pool(pool),
    )
    job = draft(
        info,
        [_kernel(one, default_rank(info)) for one in _several(kernel)],
        settings,
        channels=parse_choice(Channels, channels, "channels"),
        range=parse_range(range),
        precision=parse_choice(Precision, dtype, "dtype"),
        nan=parse_choice(Nan, nan, "nan"),
        holds=("float32", "float64", info.dtype),
        keeps_numbers=True,
    )
    plan = choose(
        job.chain,
        job.stream,
        engine=parse_choice(EngineName, engine, "engine"),
        device=device,
        threads=available_threads() if threads is None else threads,
        dtype=job.compute,
        source=job.source_dtype,
        result=job.dtype,
    )
    plan.check_memory(job.length)
    runner = get_engine(plan.engine.value, device, plan.engine_threads(job.length))
    result = np.empty(job.result.shape, job.result.dtype)
    workers = plan.workers(job.length)
    for _ in execute(
        job, source, runner, plan.step, Tally(), workers, algorithms=plan.algorithms, into=result
    ):
        pass
    return result


def shape(size: str, *layers: str) -> str:
    """Return the output size of layers, as ``convcli shape -q`` prints it.

    Parameters
    ----------
    size : str
        ``[C@]SIZE``, e.g. ``3@32x32``.
    *layers : str
        E.g. ``conv:6@5x5``, ``pool:max:2``.

    >>> shape("28x28", "conv:5,s=2,p=2", "pool:max:2")
    '7x7'
    """
    channels, sizes = parse_size(size)
    rows = trace(parse_layers(layers), channels, sizes)
    return rows[-1].output if rows else format_size(channels, sizes)


def _axes(shape: tuple[int, ...], axes: str | None) -> str:
    if axes is None:
        if not 1 <= len(shape) <= len(SPACE):
            raise UsageError(f"an array of shape {shape} needs its axes named, such as axes='YXC'")
        if len(shape) >= 3 and shape[-1] <= 4:
            likely = SPACE[-(len(shape) - 1) :] + "C"
            raise UsageError(
                f"an array of shape {shape} may end in channels: say axes='{likely}', or '{SPACE[-len(shape) :]}'"
            )
        return SPACE[-len(shape) :]
    letters = axes.upper()
    if len(letters) != len(shape) or len(set(letters)) != len(letters) or set(letters) - set(SPACE + "C"):
        raise UsageError(
            f"axes {axes!r} do not name the {len(shape)} dimensions of shape {shape}: one of C, T, Z, Y, X each"
        )
    return letters


def _several(kernel: Any) -> list[Any]:
    if kernel is None:
        return []
    if isinstance(kernel, list | tuple) and kernel and all(isinstance(one, str | Kernel) for one in kernel):
        return list(kernel)
    return [kernel]


def _kernel(kernel: Any, rank: int) -> Kernel:
    if isinstance(kernel, Kernel):
        return kernel
    return load_kernel(kernel, rank) if isinstance(kernel, str) else Kernel.from_array(kernel)


def _numbers(value: Numbers | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_numbers(value, "number")
    try:
        return (operator.index(value),)  # type: ignore[arg-type]
    except TypeError:
        return tuple(operator.index(one) for one in value)  # type: ignore[union-attr]


def _padding(value: Any) -> tuple[Padding, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_padding(value)
    if hasattr(value, "__index__"):
        return ((operator.index(value),) * 2,)
    return tuple(_one_padding(one) for one in value)


def _one_padding(value: Any) -> Padding:
    if isinstance(value, str):
        return parse_padding(value)[0]
    if hasattr(value, "__index__"):
        return (operator.index(value),) * 2
    if len(value) != 2:
        raise UsageError(f"padding {value!r} is no pair: give (before, after), a number or a name")
    return operator.index(value[0]), operator.index(value[1])


def _bias(value: Any) -> tuple[float, ...]:
    try:
        numbers = np.atleast_1d(np.asarray(value, float))
    except (TypeError, ValueError):
        raise UsageError(f"bias {value!r} is no number, nor one for each map") from None
    return tuple(numbers.tolist())


__all__ = ["filter", "shape"]
