"""Kernels by any name: beside those of `convcli.kernel`, pictures, tables and sounds whose samples are the weights."""

import re
from collections.abc import Sequence
from functools import lru_cache, partial
from math import prod
from pathlib import Path

from convcli.common import UsageError, about, number_text
from convcli.data import NO_UNIT, Axis, Info, Kind, Positions
from convcli.geometry.padding import PaddingName, PadMode
from convcli.jobs.bind import Settings, pool_axes
from convcli.kernel import Kernel, load_kernel
from convcli.kernel.array_file import SUFFIXES, split
from convcli.kernel.measured import in_samples, uneven
from convcli.kernel.model import MAX_RANK, Defaults, check_size, kernel_title
from convcli.media import registry
from convcli.media.options import ReadOptions

_FILES = {suffix for row in registry.READ for suffix in row.suffixes if not row.film} - set(SUFFIXES)


def named_kernel(text: str, rank: int = 2, info: Info | None = None) -> Kernel:
    """Return the kernel that a text means, which may be a file that is also an input.

    The samples of a picture and of a table are weights as they stand; those of a sound are an impulse response, full
    scale 1: convolved, beginning at the output's own sample, with silence outside.

    Parameters
    ----------
    info
        Of the data: a sound must have their sample rate.

    Raises
    ------
    UsageError
        As `load_kernel`, and for a file of several channels and a sound of another sample rate.
    """
    kernel, places = _loaded(text, rank, _stamp(split(text.strip())[0]))
    own = info.axis("X").positions if info is not None and "X" in info.letters else None
    steps = [one.steps() for one in (places, own) if one is not None]
    if len(steps) == 2 and steps[0] != steps[1]:
        rates = [f"{float(1 / step[0]):g} Hz" if step else "unknown" for step in steps]
        problem = f"its sample rate is {rates[0]}, and that of the input {rates[1]}"
        raise UsageError(problem, subject=kernel.title)
    return kernel


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes with a file's content."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # no file, and no name of one
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=64)  # a file is read once, however often it is asked for
def _loaded(text: str, rank: int, stamp: tuple[int, int]) -> tuple[Kernel, Positions | None]:
    """Return a kernel, and where the samples of an impulse response lie."""
    name = text.strip()
    if registry.own_suffix(name).lower() not in _FILES:
        return load_kernel(text, rank), None
    from convcli.cli.shared.opened import opened  # knows nets: not for kernels by name
    from convcli.media.sounds.shared import Sound

    table = registry.readable(name).kind is Kind.TABLE
    with about(kernel_title(name)), opened(name, ReadOptions(), grid=True) as file:
        info = file.info
        if file.shape.channels > 1:
            channels = file.shape.channels
            raise UsageError(f"it has {channels} channels: a kernel takes one, such as a grey picture")
        check_size(file.shape.sizes)
        weights = file.opaque()[0]
    if not isinstance(info.companions, Sound):
        line = weights.shape[0] == 1 or (table and weights.shape[1] == 1)  # a row is one in a text, too
        return Kernel.from_array(weights.ravel() if line else weights, name), None
    defaults = Defaults(padding=(PaddingName.SAME,), pad_mode=PadMode.ZERO, flip=True)
    taps = tuple((weights / info.companions.coding.full).tolist())
    made = Kernel(name, (1, 1, len(weights)), taps, origin=(0,), defaults=defaults)
    return made, info.axis("X").positions


def checked(text: str) -> Kernel:
    """Return the kernel of a text as far as it is known before its input is: units count one sample.

    Raises
    ------
    UsageError
        For a wrong text.
    """
    return named_kernel("identity:1" if is_transform(text) else in_samples(text, None, 2))


def is_transform(text: str) -> bool:
    """Return whether a text means a spectrogram."""
    return text.strip().partition(":")[0] == "stft"


def kernels_for(
    texts: Sequence[str], info: Info, settings: Settings, channels: int, *, numbers: bool | None = None
) -> tuple[list[Kernel], tuple[str, ...]]:
    """Return the kernels that texts mean for an input, one after the other, and lines for the person.

    Units become samples of the axes that a kernel meets: those of the input, behind the strides of the kernels before.

    Parameters
    ----------
    channels : int
        How many go through the kernels.
    numbers : bool or None
        As in `read_kernel`.

    Raises
    ------
    UsageError
        As `named_kernel` and `convcli.kernel.measured.in_samples`.
    """
    from convcli.jobs.job import canonical, kernel_for  # imports numpy, while the first rows are decoded

    made, notes, letters = list[Kernel](), dict[str, None](), canonical(info)
    for text in texts:
        read = partial(read_kernel, info=info, numbers=numbers)
        kernel, own = kernel_for(text, made, info, settings, channels, read)
        made.append(kernel)
        bare = any(axis.positions and not axis.positions.unit for axis in own) and bool(kernel.in_samples)
        lines = (
            _in_volume(text, own[-kernel.rank :]) * info.volume,
            uneven(text, own, kernel.rank),
            NO_UNIT * bare,
            _level(kernel) if settings.scale is None else "",
        )
        notes |= dict.fromkeys(filter(None, lines))
    if info.volume and settings.pool is not None:
        slides = pool_axes(settings.pool, letters, settings.axis, volume=True)
        axes = [info.axis(letters[index]) for index in slides]
        notes[_in_volume(f"--pool {settings.pool.option}", axes)] = None
    return made, tuple(notes)


def _level(kernel: Kernel) -> str:
    """Return a line where a kernel that smooths changes the level a little: its weights nearly add up to 1."""
    off = abs(kernel.sum - 1)
    if not kernel.non_negative or not _ROUNDED < off < _NEARLY or kernel.outputs * kernel.inputs > 1:
        return ""
    return (
        f"{kernel.title} sums to {number_text(kernel.sum)}, so {100 * kernel.sum:.4g} % of the level is left: "
        "try --scale normalise"
    )


_ROUNDED, _NEARLY = 1e-5, 0.1  # of a sum of 1: what weights of six digits leave; more is meant


def _in_volume(text: str, axes: Sequence[Axis]) -> str:
    """Return a line that says along which axes of a volume a kernel or a pool goes."""
    letters = ",".join(axis.letter.lower() for axis in axes)
    if "z" in letters and len(axes) > 1:
        return f"{text} is {len(axes)}-D on this volume ({letters}); --axis yx filters each slice"
    return f"{text} goes along {letters} of this volume alone"


def read_kernel(text: str, rank: int, info: Info | None = None, *, numbers: bool | None) -> Kernel:
    """Return the kernel that a text means; a bare size has the weights 1, 2, 3, …

    Parameters
    ----------
    info
        As in `named_kernel`.
    numbers : bool or None
        Whether a lone number is a size too (``3`` has the weights 1, 2, 3); otherwise it is a weight.  None: no text
        is a size.

    >>> read_kernel("2x2", 2, numbers=False).weights
    (1.0, 2.0, 3.0, 4.0)
    """
    bare = re.fullmatch(r"\s*[0-9]{1,4}(x[0-9]{1,4})*\s*", text)
    if numbers is None or not bare or (bare[1] is None and not numbers):
        return named_kernel(text, rank, info)
    size = tuple(int(part) for part in text.split("x"))
    if len(size) > MAX_RANK or min(size) < 1 or prod(size) > 1_000_000:
        raise UsageError(
            f"kernel size {text.strip()!r} is not possible: give 1 to {MAX_RANK} axes of 1 or more"
        )
    return Kernel(text.strip(), (1, 1, *size), tuple(float(n) for n in range(1, prod(size) + 1)))
