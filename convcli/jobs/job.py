"""A job: everything that determines a result, worked out from an input's form before any of it is read.

No samples are read and nothing is computed here but positions and sizes.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from convcli.common import Channels, Missing, Precision, UsageError, frozen
from convcli.data import SPACE, Axis, Colour, Companions, Even, Info
from convcli.geometry.areas import Areas
from convcli.geometry.layers import format_size
from convcli.geometry.pools import PoolKind
from convcli.geometry.windows import TransposedWindow
from convcli.jobs.bind import Settings, bind, named_axes
from convcli.jobs.chain import Chain
from convcli.jobs.missing import Gaps
from convcli.kernel import Kernel, load_kernel
from convcli.kernel.measured import in_samples
from convcli.kernel.model import MAX_RANK, slug
from convcli.pixels import channels as colours
from convcli.pixels.channels import Alpha, Split, filtered_channels, white_of
from convcli.pixels.measures import Measured
from convcli.pixels.ranges import Clip, Float, Range, parse_range
from convcli.pixels.render import Rendering, Target

PIXELS = ("uint8", "uint16")
STRIP = 1 << 24  # pixels of areas that are looked at together

FILLING = "gaussian:sigma=1"  # fills gaps
ALIASED = 0.1  # of a frequency: what is left of it is said

LEAST, MOST = 1e-30, 1e30  # between them is a kernel's largest weight that float32 holds, with room for sums


def compute_type(dtype: str, precision: Precision) -> str:
    """Return the arithmetic's type for an input's.

    >>> compute_type("uint8", Precision.AUTO), compute_type("int32", Precision.AUTO)
    ('float32', 'float64')
    """
    if precision is not Precision.AUTO:
        return precision.value
    kind = np.dtype(dtype)
    wide = (kind.kind == "f" and kind.itemsize >= 8) or (kind.kind in "iu" and kind.itemsize >= 4)
    return "float64" if wide else "float32"


def decide(
    asked: Range | None,
    kernels: Sequence[Kernel],
    dtype: str,
    holds: Sequence[str],
    keeps_numbers: bool,
    precision: Precision,
    pool: PoolKind | None = None,
) -> tuple[Range, str, str]:
    """Return the range policy of one output, its type, and the type of the arithmetic; types are numpy type names.

    Parameters
    ----------
    asked : Range or None
        What ``--range`` says.
    kernels : sequence of Kernel
        The last one's display policy is the default for pictures.
    dtype : str
        The input's type.
    holds : sequence of str
        The types that the output's format stores.
    keeps_numbers : bool
        Whether the format is for numbers (.npy, tables), so that floats are its default.
    pool : PoolKind, optional
        What is behind the kernels.

    Raises
    ------
    UsageError
        Float data for a format of integers and no ``--range``; ``float`` for such a format.

    >>> decide(None, [], "uint8", ("uint8",), False, Precision.AUTO)[1]
    'uint8'
    """
    compute = compute_type(dtype, precision)
    largest = [max(map(abs, kernel.weights)) for kernel in kernels]
    if precision is Precision.AUTO and any(one > 0 and not LEAST < one < MOST for one in largest):
        compute = "float64"  # float32, which ends at 1e-38 and 1e38, would lose a kernel's weights or sums
    floats = compute in holds
    integer = np.dtype(dtype).kind in "iu"
    if asked is None:
        if keeps_numbers or (floats and not integer):
            return Float(), compute, compute
        if dtype not in holds and dtype not in PIXELS:
            raise UsageError(
                f"{dtype} data as pixels of {holds[0]} needs --range: minmax, percentile, a window LO:HI, "
                "clip, abs or offset"
            )
        display = kernels[-1].display_policy if kernels else Clip()
        if pool is not None and pool.display:
            display = parse_range(pool.display)
        return display, dtype, compute
    if asked.colours:
        if "uint8" not in holds:
            raise UsageError(f"--range {asked}: this format holds no colours; write .png, .tiff or .npy")
        return asked, "uint8", compute
    if asked.keeps_numbers:
        if not floats:
            raise UsageError(f"--range {asked}: this format holds integers only; write .npy, .tiff or .csv")
        return asked, compute, compute
    if integer and (dtype in holds or dtype in PIXELS):
        return asked, dtype, compute
    return asked, compute if floats else "uint8", compute


# What an algorithm may be off by, of the kernel's absolute sum times the input's range: the largest of their bounds.
ERROR = {"float32": 1e-5, "float64": 1e-13, "longdouble": 1e-13}
ROUNDING = 1e-6  # of the largest value: what sums in float32 of one and the same number differ by
COUNTS = 2.0**24  # up to which float32 holds every integer
# Up to which a stage errs in float32 by at most 2**-12 of a level: by 10 * 2**-24 of its results' span, as measured.
LEVELS = 2.0**12 / 10


@frozen
class Job:
    """Everything that determines a result: the input's form, the chain, and how values become pixels.

    Attributes
    ----------
    info : Info
        The input.
    chain : Chain
    channels : Channels
    policy : Range
    dtype : str
        The output's type.
    compute : str
        ``float32`` or ``float64``.
    missing : Missing
    min_weight : float
        Share of the weights that must be present where missing samples are skipped.
    white : float, optional
        The output's, where it is not that of its type.
    areas : Areas
        Where in each picture (Y, X) results stand; elsewhere the samples stay what they are.
    """

    info: Info
    chain: Chain
    channels: Channels
    policy: Range
    dtype: str
    compute: str
    missing: Missing = Missing.PROPAGATE
    white: float | None = None
    min_weight: float = 0.0
    areas: Areas = Areas()

    @cached_property
    def full_scale(self) -> float:
        """White in the input's units."""
        return white_of(self.info)

    @cached_property
    def split(self) -> Split:
        return colours.split(
            self.info, self.channels, averages=self.chain.averages, full_scale=self.full_scale
        )

    @property
    def float32_serves(self) -> bool:
        """Whether float32 errs by at most 2**-12 of a level of integers, before they are rounded."""
        if np.dtype(self.info.dtype).kind not in "iu":
            return True
        limits = np.iinfo(self.info.dtype)
        low, high = self.chain.value_range(limits.min, limits.max)
        if (max(high, 0.0) - min(low, 0.0)) * len(self.chain.stages) <= LEVELS:
            return True
        if (
            self.chain.growth is None
            or self.split.alpha is Alpha.PREMULTIPLIED
            or self.channels is Channels.LUMA
        ):
            return False
        mapped = not (self.policy.identity or self.policy.keeps_numbers)
        if mapped and np.dtype(self.dtype).itemsize > 1:
            return False
        gain, rest = self.chain.growth
        return gain * max(limits.max, -limits.min) + rest <= COUNTS

    @cached_property
    def source_dtype(self) -> str:
        """The type of what the first stage gets."""
        return self.info.dtype if self.split.plain and not self.info.gaps else self.compute

    def check(self) -> None:
        """Refuse combinations that have no meaning.

        Raises
        ------
        UsageError
            ``skip`` where `unskippable` says why not; areas of what is no picture, or whose rest cannot stay.
        """
        if self.areas.regions:
            self._check_areas()
        if self.missing is Missing.SKIP and self.unskippable and not self.interpolates:
            subject, why = self.unskippable
            raise UsageError(
                f"missing skip renormalises weights, and {why}, or --interpolate, or --missing keep or propagate",
                subject=subject,
            )
        channels = self.split.colours if self.split.channels is Channels.LUMA else self.chain.outputs[1]
        if self.policy.colours and (channels != 1 or "Y" not in self.letters):
            raise UsageError(
                f"range {self.policy}: a colour map shows one number for each pixel of a picture"
                + f", and the result has {channels}: --channels grey or mean leaves one" * (channels > 1)
            )

    def _check_areas(self) -> None:
        info, result = self.info, self.result
        if not {"Y", "X"} <= set(info.letters):
            raise UsageError(
                f"--region is of pictures, and the data has the axes {', '.join(self.letters.lower())}"
            )
        height, width = info.size("Y"), info.size("X")
        for top in range(0, height, rows := max(STRIP // width, 1)):
            if self.areas.mask(height, width, ((top, min(top + rows, height)), (0, width))).any():
                break
        else:
            raise UsageError("--region holds no pixel")
        alike = (result.letters, result.shape) == (info.letters, info.shape)
        moved = any(self.chain.field(axis).jump != 1 for axis in range(len(self.letters)))
        numbers = self.policy.keeps_numbers and np.can_cast(info.dtype, result.dtype)
        if not alike or moved or not (numbers or result.dtype == info.dtype):
            before, after = (
                f"{one.letters} {format_size(None, one.shape)} {one.dtype}" for one in (info, result)
            )
            raise UsageError(
                f"--region leaves the rest as it is, so that stride is 1 and size, channels and type stay: {before} "
                f"would become {after}"
            )

    @property
    def interpolates(self) -> bool:
        """Whether missing samples are filled first."""
        return any(stage.fills for stage in self.chain.stages)

    @property
    def filling(self) -> tuple[str, ...]:
        """A line about gaps that are filled."""
        line = (
            f"missing samples are filled first: {FILLING}, normalised; what it does not reach stays missing"
        )
        return (line,) * self.interpolates

    @property
    def keeps_gaps(self) -> bool:
        """Whether outputs must be made missing again where samples were filled."""
        return self.interpolates and self.missing is Missing.KEEP

    @cached_property
    def unskippable(self) -> tuple[str, str] | None:
        """Which kernel keeps missing samples from being skipped, and why; None where they can be."""
        for kernel in self.chain.kernels:
            if not kernel.non_negative:  # what they would be renormalised to can be anything
                return kernel.title, "it has negative ones: use it with smoothing kernels"
            if self.chain.transposed:
                return kernel.title, "a transposed one adds up as many as reach an output: leave one out"
        return None

    @cached_property
    def letters(self) -> str:
        """The space axes of the input in the order of the chain."""
        return self.chain.letters

    @cached_property
    def stream(self) -> int:
        """Which of the chain's axes is the stream axis."""
        return self.letters.index(self.info.letters[self.info.stream_axis])

    @cached_property
    def length(self) -> int:
        """Samples of the output along the stream axis."""
        return self.chain.output[self.stream]

    @cached_property
    def result(self) -> Info:
        """The output's axes, sizes and type; a bank's maps are the axis ``M``."""
        maps, channels = self.chain.outputs
        if self.channels is Channels.LUMA and self.split.channels is Channels.LUMA:
            channels = self.split.colours
        has_alpha = self.split.alpha is not Alpha.NONE
        sizes = dict(zip(self.letters, self.chain.output, strict=True))
        sizes |= {"C": channels + has_alpha, "M": maps}
        axes = self.info.letters
        if sizes["C"] == 1:
            merged = "M" if maps > 1 and "C" in axes and self.chain.summed else ""
            axes = axes.replace("C", merged)
        if maps > 1 and "M" not in axes:
            axes = "M" + axes
        metadata = self.info.metadata
        notes = self.info.notes
        if metadata.icc and (channels != self.split.colours or self.policy.colours):
            metadata = replace(metadata, icc=None)
            notes += ("the colour profile does not describe the result's channels and is left out",)
        colour = colours.result_colour(self.info, channels, has_alpha)
        if self.policy.colours:
            sizes["C"], axes = 3 + has_alpha, axes if "C" in axes else f"{axes}C"
            colour = Colour.RGBA if has_alpha else Colour.RGB
        notes += self._aliasing()
        notes += self.filling
        return Info(
            axes=tuple(self._axis(letter, sizes[letter]) for letter in axes),
            dtype=self.dtype,
            colour=colour,
            metadata=metadata,
            companions=self._companions(),
            notes=notes,
            white=self.white,
        )

    def _axis(self, letter: str, size: int) -> Axis:
        """Return an axis of the result."""
        return self.chain.axis(self.info.axis(letter)) if letter in self.letters else Axis(letter, size)

    def _aliasing(self) -> tuple[str, ...]:
        """Return a line where a stride leaves frequencies of a signal that its new rate cannot hold."""
        places = self.info.axis("X").positions if self.letters == "X" else None
        jump = self.chain.field(0).jump if self.letters == "X" else 1
        if jump <= 1 or not isinstance(places, Even) or (passes := self.chain.folded(0)) < ALIASED:
            return ()
        above = f"{float(1 / (2 * jump * abs(places.spacing))):,.6g} Hz"
        smooth = f"-k gaussian:sigma={int(jump)}"
        return (
            f"up to {passes:.0%} of what lies above {above} folds back (aliasing): smooth first ({smooth})",
        )

    def _companions(self) -> Companions | None:
        companions = self.info.companions
        if companions is None or not companions.by_sample:
            return companions
        where = self._origins(self.stream)
        return companions.take(_sequence(where)) if len(where) else companions.drop()

    @cached_property
    def origins(self) -> dict[str, np.ndarray]:
        """Of each axis, which sample lies under the kernels' origins at each output, as `positions` says."""
        return {letter: self._origins(axis) for axis, letter in enumerate(self.letters)}

    def _origins(self, axis: int) -> np.ndarray:
        """Return the `positions` along an axis, none of transposed convolutions, whose outputs belong to no sample."""
        if any(isinstance(stage.windows[axis], TransposedWindow) for stage in self.chain.stages):
            return np.arange(0)
        return positions(self.chain, axis)

    def rendering(self, measured: Measured | None = None) -> Rendering:
        """Work out the range policy's numbers."""
        return self._rendering if measured is None else self.policy.rendering(self.target, measured)

    @cached_property
    def _rendering(self) -> Rendering:
        return self.policy.rendering(self.target, None)

    @cached_property
    def opaque(self) -> Rendering:
        """The rendering of alpha: opaque stays opaque."""
        policy = Float() if self.policy.keeps_numbers else Clip()
        return policy.rendering(replace(self.target, reach=None, numbers=False))

    @cached_property
    def target(self) -> Target:
        signed = np.dtype(self.info.dtype).kind == "i"
        low, high = self.chain.value_range(-self.full_scale - 1 if signed else 0.0, self.full_scale)
        bound = max(abs(low), abs(high))
        rounded = self.compute == "float32" and np.dtype(self.info.dtype).kind in "iu"
        return Target(
            self.dtype,
            full_scale=self.full_scale,
            bound=bound,
            compute=self.compute,
            reach=(low, high) if self._bounded else None,
            error=ERROR[self.compute] * len(self.chain.stages) * (high - low),
            noise=ROUNDING * bound if rounded else 0.0,
            white=self.white,
            numbers=np.dtype(self.info.dtype).kind in "iu" and self.info.dtype not in PIXELS,
        )

    @property
    def _bounded(self) -> bool:
        """Whether results are the chain's alone, and numbers: what divides or adds to them is not in its bounds."""
        numbers = np.dtype(self.info.dtype).kind in "iu" and self.chain.gives_numbers and not self.info.gaps
        return numbers and self.split.alpha is not Alpha.PREMULTIPLIED and self.channels is not Channels.LUMA


def draft(
    info: Info,
    kernels: Sequence[Kernel],
    settings: Settings,
    *,
    channels: Channels = Channels.EACH,
    range: Range | None = None,
    precision: Precision = Precision.AUTO,
    gaps: Gaps = Gaps(),  # noqa: B008
    holds: Sequence[str] = ("float32", "float64"),
    keeps_numbers: bool = True,
    areas: Areas = Areas(),  # noqa: B008
) -> Job:
    """Return the job of filtering one input.

    Parameters
    ----------
    info : Info
        The input's form.
    kernels : sequence of Kernel
        Applied in turn.
    settings : Settings
        The geometry that was asked for.
    range : Range, optional
        Without it, the default of the kernels and of the output's format.
    gaps : Gaps
        Without a policy, ``skip`` where gaps are filled (first, with the normalised mean under a Gaussian), ``keep``
        where a nodata value or a mask says what is missing.
    holds, keeps_numbers
        What the output can store, as `convcli.jobs.job.decide` takes it; floats by default.

    areas : Areas
        Where in each picture results are wanted.

    Raises
    ------
    UsageError
        When the kernels do not fit the data, or options contradict each other or the output.
    """
    letters = canonical(info)
    settings = replace(settings, sum_channels=channels is Channels.SUM, volume=info.volume)
    sizes = [info.size(letter) for letter in letters]
    chain = bind(kernels, settings, letters, sizes, filtered_channels(info, channels))
    pool = getattr(chain.stages[-1], "kind", None)
    policy, dtype, compute = decide(range, kernels, info.dtype, holds, keeps_numbers, precision, pool)
    if range is None and "Y" not in letters and not policy.keeps_numbers:  # displays are for pictures
        policy = Clip()
    as_they_are = dtype == info.dtype and compute in holds  # in a format of numbers
    white = info.white if as_they_are else None
    missing, interpolate = gaps.missing, gaps.interpolate
    if missing is None:
        said = info.gaps or info.metadata.nodata is not None
        missing = Missing.SKIP if interpolate else Missing.KEEP if said else Missing.PROPAGATE
    if interpolate and (info.gaps or np.dtype(info.dtype).kind == "f"):
        chain = chain.filled(load_kernel(FILLING, default_rank(info)))
    elif interpolate and missing is Missing.SKIP:
        missing = Missing.PROPAGATE  # of integers without a mask none is missing
    job = Job(info, chain, channels, policy, dtype, compute, missing, white, gaps.min_weight, areas)
    if precision is Precision.AUTO and not job.float32_serves:
        job = replace(job, compute="float64")
    job.check()
    return job


def _sequence(where: np.ndarray) -> Sequence[int | None]:
    """Return positions as they are taken: a range where they are one, ``None`` for those outside.

    >>> _sequence(np.array([1, 3, 5])), _sequence(np.array([-1, 0, 1]))
    (range(1, 7, 2), [None, 0, 1])
    """
    step = int(where[1] - where[0]) if len(where) > 1 else 1
    if len(where) and where[0] >= 0 and step > 0 and (np.diff(where) == step).all():
        first = int(where[0])
        return range(first, first + step * len(where), step)
    return [None if index < 0 else index for index in where.tolist()]


def positions(chain: Chain, axis: int) -> np.ndarray:
    """Return for each output along an axis the input element under the kernels' origins, −1 outside."""
    where = np.arange(chain.output[axis])
    for stage, sizes in zip(reversed(chain.stages), reversed(chain.sizes[:-1]), strict=True):
        window, n = stage.windows[axis], sizes[axis]
        missing = where < 0
        where = window.origin_index(where, stage.origins[axis])  # type: ignore[arg-type,assignment]
        outside = (where < 0) | (where >= n)
        if n and not stage.mode.fills:
            where[outside] = [stage.mode.sources(index, n)[0][0] for index in where[outside].tolist()]
            outside = missing
        where[outside | missing] = -1
    return where


def canonical(info: Info) -> str:
    """Return the space axes of an input in the order of ``TZYX``."""
    return "".join(letter for letter in SPACE if letter in info.letters)


def default_rank(info: Info, axis: str | None = None) -> int:
    """Return the rank of a parametric kernel that says none: of named axes, or 1 on signals, 3 on volumes, else 2."""
    if axis is not None:
        return min(len(axis), MAX_RANK)
    return 3 if info.volume else min(len(canonical(info)), 2)


def kernel_for(
    text: str,
    before: Sequence[Kernel],
    info: Info,
    settings: Settings,
    channels: int,
    read: Callable[[str, int], Kernel],
) -> tuple[Kernel, list[Axis]]:
    """Return the kernel that a text means for an input, and the axes that it meets behind the kernels before it.

    Units become samples of these axes; ``read`` gets a text in samples, and the rank where it says none.

    Raises
    ------
    UsageError
        As `convcli.kernel.measured.in_samples`, ``bind`` and ``read``.
    """
    letters = canonical(info)
    rank = default_rank(info, settings.axis)
    axes = [info.axis(letter) for letter in letters]
    if before and any(axis.positions for axis in axes):
        chain = bind(before, replace(settings, pool=None), letters, [axis.size for axis in axes], channels)
        axes = [chain.axis(axis) for axis in axes]
    if named := named_axes(read(in_samples(text, None, rank), rank), settings, letters):
        axes = [axis for axis in axes if axis.letter in named.upper()]
    told = in_samples(text, axes, rank)
    kernel = read(told, rank)
    return kernel if told == text else replace(kernel, name=text, slug=slug(text), in_samples=told), axes
