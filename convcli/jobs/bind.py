"""Options meet sizes: kernels and pools become a chain.

Defaults are filled in, kernels find their axes, paddings become elements, and maps and channels are counted.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from math import prod

from convcli.common import UsageError, about, counted, frozen, parse_float, per_axis, quoted
from convcli.common.budget import OUTPUTS, check_padding
from convcli.common.options import Panel, flag, option
from convcli.data import SPACE
from convcli.geometry.grammar import parse_pool
from convcli.geometry.layers import Conv, Pool
from convcli.geometry.padding import Padding, PaddingName, PadMode, parse_pad_mode, parse_padding
from convcli.geometry.pools import POOLS
from convcli.geometry.windows import TransposedWindow, Window
from convcli.jobs.chain import Chain, ConvStage, PoolStage, Stage
from convcli.kernel import Kernel

NORMALISE = 0.0  # as a factor: the one that makes the sum 1


def parse_scale(text: str) -> float:
    """Read what weights are multiplied by.

    >>> parse_scale("1/8"), parse_scale("normalise")
    (0.125, 0.0)
    """
    if text.strip().lower() in ("normalise", "normalize"):
        return NORMALISE
    factor = parse_float(text, "scale")
    if not factor:
        raise UsageError(f"scale {quoted(text)}: weights of nothing but zeros do nothing")
    return factor


@frozen
class Settings:
    """What a person said about the geometry; ``None`` is "not said", so that a kernel's own defaults hold.

    Tuples have one value, or one for each axis of the kernel.
    """

    panel = Panel.WINDOW

    stride: tuple[int, ...] | None = option("Step of the window: 2, or 2,1 for each axis.")
    padding: tuple[Padding, ...] | None = option(
        "valid, same, full, same-lower, same-upper, tail, a number, or before:after; one for each axis "
        "(1:0,2:2). Neither --padding nor --pad-mode: same with replicated edges (valid along time). "
        "--padding alone: zeros outside; --pad-mode alone: same, along time too.",
        read=parse_padding,
        complete=tuple(PaddingName),
    )
    pad_mode: PadMode | None = option(f"One of {', '.join(PadMode)}.", read=parse_pad_mode)
    pad_value: float | None = option("What constant padding holds.")
    dilation: tuple[int, ...] | None = option("Distance between the kernel's taps.")
    scale: float | None = option(
        "Multiplies the weights: 1/9, -2; or normalise: their sum becomes 1.",
        panel=Panel.KERNEL,
        read=parse_scale,
    )
    bias: tuple[float, ...] | None = option(
        "Added to the result: one number, or one for each map.",
        panel=Panel.KERNEL,
        read=lambda text: tuple(parse_float(part, "bias") for part in text.split(",")),
    )
    flip: bool | None = option(
        "True convolution; without it cross-correlation.", "--flip/--no-flip", panel=Panel.KERNEL
    )
    transposed: bool = flag("Transposed convolution; padding (default 0) crops.", "--transpose")
    output_padding: tuple[int, ...] = option(
        "Extra elements at the end, with --transpose.", default=(0,), least=0, metavar="N"
    )
    axis: str | None = option(
        "Axis of a 1-D kernel (y), or the axes of others (tx).",
        complete=("x", "y", "yx", "t", "z", "zyx", "tyx"),
    )
    pool: Pool | None = option(
        "After the kernels, or alone: max:2, avg:3,s=2, min:2,ceil, global-max (also p= d=).",
        read=parse_pool,
        complete=tuple(f"{kind}:" for kind in POOLS),
    )
    sum_channels: bool = False
    volume: bool = False


def kernel_axes(letters: str, rank: int, axis: str | None, what: str) -> tuple[int, ...]:
    """Return which of the data's space axes a kernel of this rank slides along: the last, or those named.

    >>> kernel_axes("TYX", 2, None, "kernel"), kernel_axes("TYX", 1, "t", "kernel")
    ((1, 2), (0,))
    """
    if axis is not None:
        wanted = axis.upper()
        unknown = [letter for letter in wanted if letter not in letters]
        if unknown or len(set(wanted)) != len(wanted) or not wanted:
            raise UsageError(f"axis {axis!r}: the data has the axes {', '.join(letters.lower())}")
        if len(wanted) != rank:
            raise UsageError(
                f"axis {axis!r} names {counted(len(wanted), 'axis', 'axes')}, and the rank is {rank}",
                subject=what,
            )
        return tuple(sorted(letters.index(letter) for letter in wanted))
    if rank > len(letters):
        raise UsageError(
            f"rank {rank}, and the data has only the axes {', '.join(letters.lower())}: "
            f"give one of rank {len(letters)}"
            + ("; --as matrix reads a table as a grid" * (letters == "X"))
            + f"; if the first axis counts channels, say --axes C{letters[1:]}" * (len(letters) > 1),
            subject=what,
        )
    return tuple(range(len(letters) - rank, len(letters)))


def named_axes(kernel: Kernel, settings: Settings, letters: str) -> str | None:
    """Return the axes that a person names, else those that the kernel names if the data has them."""
    own = (kernel.defaults.axis or "").upper()
    return settings.axis or (own if own and set(own) <= set(letters) else None)


def _default_padding(settings: Settings, kernel: Kernel, letters: Sequence[str]) -> tuple[Padding, ...]:
    if settings.padding is not None:
        return settings.padding
    if kernel.defaults.padding is not None:
        return kernel.defaults.padding
    if settings.transposed:
        return ((0, 0),)
    said = (settings.pad_mode, settings.pad_value, kernel.defaults.pad_mode) != (None, None, None)
    time = PaddingName.SAME if said else PaddingName.VALID
    return tuple(time if letter == "T" else PaddingName.SAME for letter in letters)


def _default_mode(settings: Settings, kernel: Kernel) -> PadMode:
    if settings.transposed:
        if settings.pad_mode is not None or settings.pad_value is not None:
            raise UsageError("pad mode with --transpose: there padding crops, and nothing lies outside")
        return PadMode.ZERO
    if settings.pad_value is not None:
        mode = settings.pad_mode or PadMode.CONSTANT
        if not mode.takes_value:
            raise UsageError(f"pad value {settings.pad_value:g} with pad mode {mode}: only constant has one")
        return mode
    if settings.pad_mode is not None:
        return settings.pad_mode
    if kernel.defaults.pad_mode is not None:
        return kernel.defaults.pad_mode
    said = settings.padding is not None or kernel.defaults.padding is not None
    return PadMode.ZERO if said else PadMode.REPLICATE


def _over_channels(kernel: Kernel, channels: int) -> Kernel:
    """Return a one-input kernel as one that adds up its results on all channels."""
    weights = tuple(weight for row in kernel.rows for _ in range(channels) for weight in row)
    return replace(kernel, shape=(kernel.outputs, channels, *kernel.size), weights=weights)


def _spread(
    windows: Sequence[Window | TransposedWindow], axes: tuple[int, ...], count: int
) -> tuple[Window | TransposedWindow, ...]:
    """Return a window for every axis: the kernel's own, and one tap on the others."""
    own = dict(zip(axes, windows, strict=True))
    return tuple(own.get(index, Window(1)) for index in range(count))


def _bind_kernel(
    kernel: Kernel, settings: Settings, letters: str, sizes: tuple[int, ...], planes: int
) -> Stage:
    if settings.transposed:
        kernel.weighted()
    if any(settings.output_padding) and not settings.transposed:
        raise UsageError("output padding lengthens a transposed convolution: give --transpose with it")
    rank = kernel.rank
    axes = kernel_axes(letters, rank, named_axes(kernel, settings, letters), kernel.title)
    names = [letters[axis] for axis in axes]
    flip = kernel.defaults.flip if settings.flip is None else settings.flip
    if flip:
        kernel = kernel.flipped()
    if settings.scale is not None:
        kernel = kernel.normalised() if settings.scale == NORMALISE else kernel.scaled(settings.scale)
    if settings.bias is not None:
        kernel = kernel.with_bias(settings.bias)
    if settings.sum_channels and kernel.inputs == 1:
        kernel = _over_channels(kernel, planes)
    if kernel.inputs not in (1, planes):
        raise UsageError(
            f"it sums over {kernel.inputs} channels and the data has {planes}: give a kernel with one input "
            "or as many as there are channels (--axes names an array's, such as CYX)",
            subject=kernel.title,
        )
    summed = kernel.inputs == planes and (planes > 1 or settings.sum_channels)
    defaults = kernel.defaults
    layer = Conv(
        size=kernel.size,
        out=kernel.outputs,
        stride=per_axis(settings.stride or defaults.stride or (1,), rank, "stride"),
        dilation=per_axis(settings.dilation or defaults.dilation or (1,), rank, "dilation"),
        padding=per_axis(_default_padding(settings, kernel, names), rank, "padding"),
        origin=kernel.origin,
        transposed=settings.transposed,
        output_padding=per_axis(settings.output_padding, rank, "output padding"),
    )
    windows = _spread(layer.windows(tuple(sizes[axis] for axis in axes)), axes, len(letters))
    asked = (settings.padding or defaults.padding, settings.dilation or defaults.dilation)
    if asked != (settings.padding, settings.dilation):  # a stranger's file, perhaps
        pairs = list(zip(windows, sizes, strict=True))
        outputs = kernel.outputs * prod(window.output_size(n) for window, n in pairs)
        padded = prod(window.full_size(n) for window, n in pairs)
        what = f"{kernel.title} with a padding or a dilation of its own"
        OUTPUTS.allow(max(outputs, padded), what, prod(sizes))
    mode = _default_mode(settings, kernel)
    if kernel.statistic is not None:
        own = dict(zip(axes, kernel.origin, strict=True))
        origin = tuple(own.get(index, 0) for index in range(len(letters)))
        fill = mode.fill(settings.pad_value or 0.0)
        return PoolStage(kernel.statistic, windows, False, mode, fill, origin, kernel.centred)  # type: ignore[arg-type]
    return ConvStage(kernel, windows, mode, mode.fill(settings.pad_value or 0.0), summed, axes)


def _pool_alone(pool: Pool, settings: Settings) -> Pool:
    """Return a pool that follows no kernel with the window that the options ask for."""
    of_kernels = {
        "--pad-mode": settings.pad_mode is not None,
        "--pad-value": settings.pad_value is not None,
        "--scale": settings.scale is not None,
        "--bias": settings.bias is not None,
        "--flip": settings.flip,
        "--transpose": settings.transposed,
        "--output-padding": any(settings.output_padding),
        "--channels sum": settings.sum_channels,
    }
    for name in (name for name, given in of_kernels.items() if given):
        raise UsageError(f"{name} is of kernels, and {pool} has none: leave it out, or give -k")
    for name, default in {"stride": None, "padding": ((0, 0),), "dilation": (1,)}.items():
        asked, own = getattr(settings, name), getattr(pool, name)
        if asked is None or asked == own:
            continue
        if pool.size is None:
            raise UsageError(f"--{name} is of windows that move, and {pool} is over everything: leave it out")
        if own != default:
            raise UsageError(f"--{name} says another {name} than {pool}: give one of them")
        pool = replace(pool, **{name: asked})
    return pool


def pool_axes(pool: Pool, letters: str, axis: str | None, volume: bool) -> tuple[int, ...]:
    """Return the axes that a pool slides along: Y and X (or X alone, or Z too), or as many last ones as it names."""
    plane = len(letters.removeprefix("T") if volume else letters.lstrip("TZ")) or 1
    rank = len(axis) if axis else (plane if pool.size is None or len(pool.size) == 1 else len(pool.size))
    return kernel_axes(letters, rank, axis, "pool")


def _bind_pool(pool: Pool, letters: str, sizes: tuple[int, ...], axis: str | None, volume: bool) -> PoolStage:
    axes = pool_axes(pool, letters, axis, volume)
    windows = _spread(pool.windows(tuple(sizes[axis] for axis in axes)), axes, len(letters))
    return PoolStage(pool.kind, windows, pool.include_padding)  # type: ignore[arg-type]


def bind(
    kernels: Sequence[Kernel], settings: Settings, letters: str, sizes: Sequence[int], channels: int
) -> Chain:
    """Bind kernels (and the pool after them) to data.

    Parameters
    ----------
    kernels : sequence of Kernel
        Applied one after the other; the settings hold for each.
    settings : Settings
    letters : str
        The data's space axes in the order of ``TZYX``.
    sizes : sequence of int
        Their sizes.
    channels : int
        Channels of the data (colours, columns), without alpha.

    Raises
    ------
    UsageError
        When a kernel's rank, channels or size do not fit, or an option has the wrong number of values.
    """
    if letters != "".join(letter for letter in SPACE if letter in letters):
        raise ValueError(f"axes {letters!r} are not in the order of {SPACE}")
    trail = [tuple(sizes)]
    stages: list[Stage] = []
    maps = 1
    planes = channels
    for kernel in kernels:
        with about(kernel.title) if len(kernels) > 1 else nullcontext():
            stage = _bind_kernel(kernel, settings, letters, trail[-1], maps * planes)
            _append(stages, trail, stage)
        maps, planes = stage.channels(maps, planes)
    pool = settings.pool
    if pool is None and kernels and kernels[-1].defaults.pool is not None:
        pool = parse_pool(kernels[-1].defaults.pool)
    if pool is not None:
        pool = pool if kernels else _pool_alone(pool, settings)
        _append(stages, trail, _bind_pool(pool, letters, trail[-1], settings.axis, settings.volume))
    if not stages:
        raise UsageError("nothing to do: give a kernel (-k NAME, see `convcli kernels list`) or --pool")
    return Chain(letters, tuple(trail), tuple(stages), channels)


def _append(stages: list[Stage], trail: list[tuple[int, ...]], stage: Stage) -> None:
    stages.append(stage)
    pairs = list(zip(stage.windows, trail[-1], strict=True))
    outputs = tuple(window.output_size(n) for window, n in pairs)
    if not any(isinstance(window, TransposedWindow) for window in stage.windows):  # whose padding crops
        check_padding(prod(window.full_size(n) for window, n in pairs), prod(trail[-1]))
    trail.append(outputs)
