"""The command line of ``filter``, the main job; the work is in `convcli.cli.filter.batch`."""

import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from convcli.cli.shared import options
from convcli.common import (
    Channels,
    EngineName,
    Precision,
    UsageError,
    frozen,
    frozen_identity,
    parse_bytes,
    parse_choice,
    parse_part,
    parse_workers,
    quoted,
)
from convcli.common.choices import Distances
from convcli.common.options import Panel, argument, flag, option
from convcli.jobs.bind import Settings
from convcli.jobs.missing import Gaps
from convcli.media.options import ReadOptions, WriteOptions
from convcli.pixels.ranges import Range, range_policy

FIELDS = ("dir", "stem", "kernel", "suffix", "n")


def _template(text: str) -> str:
    """Check a template of names.

    >>> _template("{dir}/{stem}-{n:04}{suffix}")
    '{dir}/{stem}-{n:04}{suffix}'
    """
    from string import Formatter  # what others need not wait for

    try:
        for _, field, form, conversion in Formatter().parse(text):
            if field is None:
                continue
            if (
                field not in FIELDS
                or conversion
                or not re.fullmatch("0?[1-9]?" if field == "n" else "", form or "")
            ):
                raise ValueError(
                    f"{{{field}}} is none of {{dir}} {{stem}} {{kernel}} {{suffix}} {{n}} {{n:04}}"
                )
    except ValueError as error:
        raise UsageError(f"--name {text!r}: {error}") from None
    if not re.search(r"(\{suffix\}|\.\w+)$", text):
        raise UsageError(f"--name {text!r}: it must end in {{suffix}}, or in one such as .png")
    return text


@frozen
class Scale:
    """How a job is spread: over processes, and over runs that share the folder OUT.job."""

    panel = Panel.SPEED

    memory: int | None = option("Most memory of all processes: 2GB, 500MB.", read=parse_bytes)
    workers: int | str | None = option(
        "Processes that compute boxes of the output, each on one core unless --threads says more; tcp://HOST:8786: "
        "the workers of that Dask scheduler.",
        read=parse_workers,
        metavar="N",
    )
    part: tuple[int, int] | None = option(
        "3/100: compute the third of a hundred parts; runs of all parts share one output.", read=parse_part
    )
    keep_job: bool = flag("Keep the folder OUT.job, by which `convcli job` can verify the output.")

    @property
    def scheduler(self) -> str | None:
        """The address of the Dask scheduler whose workers were asked for."""
        return self.workers if isinstance(self.workers, str) else None

    @property
    def asked(self) -> bool:
        """Whether a folder of the job was asked for."""
        return self.workers is not None or self.part is not None or self.keep_job


@frozen_identity
class Verification:
    """What share of a large job's boxes a dry run computes once more to compare them, and what it has found."""

    share: float
    told: list[str]


@frozen(kw_only=True)
class Request:
    """Filter images, clips, signals and arrays with kernels.

    \b
    Examples:
      convcli filter photo.png -k hedge
      convcli filter photo.jpg -k gaussian:sigma=2 -k sobel -o edges.png
      convcli filter signal.csv -k mean3 --columns 2-4
      convcli filter tone.wav -k stft:25ms,hop=10ms -o spectrogram.png
      convcli filter *.png -k "1/9,1/9,1/9;1/9,1/9,1/9;1/9,1/9,1/9" --out-dir out
      convcli filter photos/ -r -k gaussian:2 --out-dir out
      convcli filter photo.png --pool max:2
      convcli filter clip.mp4 -k box:3 -o soft.mp4
      convcli filter frames/%04d.png -k temporal-mean:3 -o out/%04d.png
      convcli filter stack.tif -k identity --range clip -o pyramid.ome.zarr
      cat a.png | convcli filter - -k sharpen > b.png

    \b
    What --range makes of numbers, where white is 255, 65535 or 1:
      clip            black below 0, white above white
      abs             the size, then as clip: edges of both signs are light
      offset[:GAIN]   zero becomes mid grey; offset:2 doubles the contrast
      LO:HI           black at LO, white at HI; 0%:200% is a window in white,
                      0:1%max one in the input's largest sample
      minmax          black at the smallest value, white at the largest
      percentile:1:99 the same without the outermost hundredths
      dB:-80:0        decibels, of spectrograms
      viridis[:RANGE] a colour map from black to white of RANGE, else of minmax
      float           the numbers themselves (.npy, .tiff, .csv)

    \b
    What --pad-mode puts around a b c d:
      zero        0 0 | a b c d | 0 0      constant: --pad-value instead of 0
      replicate   a a | a b c d | d d
      reflect     c b | a b c d | c b
      symmetric   b a | a b c d | d c
      circular    c d | a b c d | a b
      antireflect mirrored about the edge's value: 2a-c 2a-b | a b c d | ...
    """

    work = "filter.batch.filter_all"
    brief = "--kernel --output --out-dir --stride --padding --range --pool --dry-run"

    inputs: tuple[str, ...] = argument(
        "Files, folders, 'photos/**/*.png', frames/%04d.png, or - for standard input.", metavar="INPUT..."
    )
    kernels: tuple[str, ...] = options.kernels()
    each: bool = flag("An output for each kernel, instead of all kernels in turn.", panel=Panel.KERNEL)
    recursive: bool = flag("Take folders with all folders in them.", "--recursive", "-r", panel=Panel.OUTPUT)
    output: str | None = options.output()
    out_dir: Path | None = option("Folder for the outputs, made where it is missing.")
    name: str | None = option(
        "Names of outputs, of {dir} {stem} {kernel} {suffix} {n:04}. Default: {dir}/{stem}.{kernel}{suffix}.",
        read=_template,
    )
    skip_existing: bool = flag("Leave outputs that are there: goes on where a batch stopped.")
    region: tuple[str, ...] = options.region(
        "Filter only there and leave the rest as it is: x,y,width,height, corners 'x,y x,y x,y', or a mask picture. "
        "Repeat for more."
    )
    format: str | None = option("Output type where no suffix says it: png, jpeg, csv, npy...")
    settings: Settings
    along: Distances | None = option(
        "time: kernels in units (box:5s, gaussian:sigma=2s) weigh the rows of a table by their real distances; "
        "time,counts adds how many are behind each value.",
        panel=Panel.WINDOW,
        read=lambda text: parse_choice(Distances, text, "along"),
    )
    range: Range | None = range_policy()
    channels: Channels = options.channels()
    reading: ReadOptions
    gaps: Gaps
    precision: Precision = options.precision(
        "Arithmetic: auto (float32; float64 for tables, 64-bit data, and where integers ask for it), float32, float64."
    )
    engine: EngineName = options.engine()
    device: str = options.device()
    threads: int | None = option("Processor cores to use. Default: all.", panel=Panel.SPEED, least=1)
    scale: Scale
    writing: WriteOptions
    force: bool = options.force()
    plot: str | None = option(
        "Draw input and result side by side: FILE.png, .svg, .pdf or .html, or - in the terminal; with --range MAP "
        "a bar of the colours; with --dry-run a preview.",
        metavar="FILE",
    )
    dry_run: bool = flag(
        "Say what would be done and stop; with -v also which engine and algorithm, and why.",
        panel=Panel.MESSAGES,
    )
    json: bool = options.json("Report each output as a line of JSON (the axis M counts the kernel's maps).")
    messages: options.Messages
    verification: Verification | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, before anything is read."""
        if not self.kernels and self.settings.pool is None:
            from convcli.kernel.library import names

            meant = next((name for name in self.inputs if name.partition(":")[0] in names()), "NAME")
            raise UsageError(
                f"nothing to do: give a kernel (-k {meant}, see `convcli kernels list`) or --pool"
            )
        others = replace(self.settings, stride=None, pool=None), self.gaps.min_weight, self.gaps.interpolate
        if self.along is not None and others != (Settings(), 0, False):
            raise UsageError(
                "--along weighs rows by their distances: of the options of windows, weights and gaps only --stride, "
                "--pool, --missing and --mask go with it"
            )
        if self.output is not None and self.out_dir is not None:
            raise UsageError("--output and --out-dir: give one of them")
        if self.output is not None and self.name is not None:
            raise UsageError("--output and --name: give one of them")
        if self.plot not in (None, "-") and (len(self.inputs) > 1 or self.each):
            raise UsageError(
                "--plot FILE draws one input and one result; --plot - draws each in the terminal"
            )
        if self.force and self.skip_existing:
            raise UsageError(
                "--force replaces outputs that are there and --skip-existing leaves them: give one"
            )
        if self.each and len(self.kernels) < 2:
            raise UsageError("--each makes an output for each of several kernels: give -k twice or more")
        if self.each and self.output is not None:
            raise UsageError(
                f"{len(self.kernels)} outputs and one name: give --out-dir or --name instead of -o"
            )
        if self.each and self.name is not None and "{kernel}" not in self.name:
            raise UsageError("--each gives all outputs of an input one name: put {kernel} into --name")
        if len(self.inputs) > 1:
            self.check_several(
                f"{len(self.inputs)} inputs, from {quoted(self.inputs[0])} to {quoted(self.inputs[-1])},"
            )

    def check_several(self, what: str) -> None:
        """Refuse several inputs that have no place for several outputs."""
        if self.output is not None:
            raise UsageError(f"{what} and one output: give --out-dir DIR instead of -o")
        if self.out_dir is None and self.name is None:
            raise UsageError(f"{what} need --out-dir DIR for their outputs")

    @property
    def variants(self) -> tuple["Request", ...]:
        """A request for each output of an input; this one is not kept by itself, which only a search would free."""
        return self._variants if self.each else (self,)

    @cached_property
    def _variants(self) -> tuple["Request", ...]:
        return tuple(replace(self, kernels=(kernel,), each=False) for kernel in self.kernels)
