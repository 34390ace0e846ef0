"""The Python verbs: the same jobs as in the shell, on arrays; ``motion`` on clips too.

What only ``motion`` needs is imported in it, so that the others do not wait for it.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

import numpy as np

from convcli.common import Channels, EngineName, Missing, Precision, UsageError, parse_choice, quoted
from convcli.common.machine import available_threads
from convcli.common.numbers import in_range, parse_numbers, split_unit, whole
from convcli.data import ITEMS, SPACE, UNITS, ArraySource, Colour, Even, Info, Source, channels_first
from convcli.data.box import whole as box_of
from convcli.data.foreign import Taken, taken
from convcli.data.masked import Masked
from convcli.execution.items import item, item_of, items
from convcli.execution.pipeline import Pipeline
from convcli.geometry.areas import Areas
from convcli.geometry.grammar import parse_layers, parse_pool, parse_size
from convcli.geometry.graph import trace
from convcli.geometry.layers import format_size
from convcli.geometry.padding import Padding, parse_pad_mode, parse_padding
from convcli.jobs.bind import Settings, bind
from convcli.jobs.chain import ConvStage
from convcli.jobs.job import canonical, compute_type, default_rank, draft, kernel_for
from convcli.jobs.missing import Gaps, Rule
from convcli.kernel import Kernel, is_known, load_kernel
from convcli.pixels.channels import filtered_channels
from convcli.pixels.ranges import ROUNDED, parse_range
from convcli.pixels.render import Tally
from convcli.plan.choose import Resources

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from convcli.detection.events import Box, Event
    from convcli.explanations.matrix import Matrix
    from convcli.explanations.value import ConvExplanation, PoolExplanation
    from convcli.geometry.areas import Polygon, Stencil
    from convcli.geometry.graph import Step
    from convcli.learning.least_squares import Fit
    from convcli.learning.training import State
    from convcli.media.clip_view import Part, Watched
    from convcli.media.options import ReadOptions
    from convcli.networks.torch_run import Output

    OneKernel = str | Kernel | ArrayLike
    Weights = str | PathLike[str] | Mapping[str, np.ndarray]
    Where = Box | Sequence[tuple[int, int]] | str | PathLike[str] | np.ndarray | Sequence["Where"]

# Every closed choice, for type checkers; a test compares them with the enums and classes that read them.
ChannelsName = Literal["each", "luma", "grey", "mean", "sum"]
DtypeName = Literal["auto", "float32", "float64"]
EngineChoice = Literal["auto", "numpy", "torch"]
MissingName = Literal["propagate", "skip", "keep", "error"]
PaddingChoice = Literal["valid", "full", "same", "same-lower", "same-upper", "tail"]
PadModeName = Literal["zero", "constant", "replicate", "reflect", "symmetric", "circular", "antireflect"]
RangeName = Literal["clip", "abs", "offset", "minmax", "float"]

Numbers = int | str | Sequence[int]
Paddings = PaddingChoice | str | int | Sequence[PaddingChoice | int | tuple[int, int]]
_WORDS = {str, int, float, bool, type(None), bytes}
MOST_REMEMBERED = 1 << 14  # bytes of a kernel
_PLANNED: dict[Hashable, Pipeline] = {}  # for arrays of one form, which are often filtered alike
MOST_PLANNED = 256
_COLOURS_OF_CLIPS = {1: Colour.GREY, 2: Colour.GREY_ALPHA, 3: Colour.RGB, 4: Colour.RGBA}


class KernelOptions(TypedDict, total=False):
    """Options of a kernel, each as in `filter`."""

    stride: Numbers
    padding: Paddings
    pad_mode: PadModeName
    pad_value: float
    dilation: Numbers
    bias: float | Sequence[float]
    flip: bool
    transpose: bool
    output_padding: Numbers
    axis: str


class TrainingOptions(TypedDict, total=False):
    """How `learn` trains a net, each as in the shell."""

    epochs: int
    loss: Literal["mse", "bce", "ce"]
    optimizer: Literal["adam", "sgd"]
    rate: float
    momentum: float
    batch: int
    seed: int
    patience: int
    held_out: float


def filter(
    array: ArrayLike,
    kernel: OneKernel | Sequence[OneKernel] | None = None,
    *,
    stride: Numbers | None = None,
    padding: Paddings | None = None,
    pad_mode: PadModeName | None = None,
    pad_value: float | None = None,
    dilation: Numbers | None = None,
    bias: float | Sequence[float] | None = None,
    flip: bool | None = None,
    transpose: bool = False,
    output_padding: Numbers = 0,
    pool: str | None = None,
    range: RangeName | str | None = None,
    channels: ChannelsName = "each",
    axis: str | None = None,
    axes: str | None = None,
    missing: MissingName | None = None,
    spacing: str | Sequence[str] | None = None,
    mask: ArrayLike | None = None,
    min_weight: float = 0.0,
    interpolate: bool = False,
    region: Where | None = None,
    dtype: DtypeName = "auto",
    engine: EngineChoice = "auto",
    device: str = "cpu",
    threads: int | None = None,
) -> Any:
    """Filter an array; every option means what it means in the shell.

    Parameters
    ----------
    array : array_like, torch.Tensor, PIL.Image.Image, xarray.DataArray, dask.array.Array, or a table
        Real numbers, shape (X,), (Y, X), (Z, Y, X) or (T, Z, Y, X), or as ``axes`` says; booleans are 0 and 1.
        Of a DataFrame or Series of pandas or Polars each column is filtered along the rows.
        What a masked array masks is missing, as with ``mask``, and the result is a masked array.
        The dimensions of a DataArray are known by their first letters, and by ``band``, ``lat`` and ``lon``.
    kernel : str, Kernel, array_like, or a list of these
        A name, ``name:parameters``, a file or inline text; a Kernel; weights of shape (x,), (y, x), (z, y, x),
        (out, in, y, x) or (out, in, z, y, x), and (out, in, x) where ``axes`` has X alone.  A list that holds a text,
        a Kernel or an array is applied in turn; nested lists of numbers are weights.  May be left out where ``pool``
        is given.
    stride : int, sequence of int, or text such as ``2x1``
        Steps of the kernel in samples, one for all axes that it slides along or one for each.  Default: the kernel's
        own, else 1.
    padding : str, int, or a sequence with one for each axis
        Samples around the data: a name, a number for both sides, or pairs (before, after).  Default: the kernel's
        own; else ``same``, where ``pad_mode`` is not given either with replicated edges and ``valid`` along T.
        A ``pool`` without kernels has a window of its own: ``stride``, ``dilation`` and this are then its, default 0.
    pad_mode : str
        What stands outside of the data.  Default: the kernel's own, else ``zero`` where ``padding`` is given.
    pad_value : float
        The value of ``pad_mode="constant"``, in the array's units.
    dilation : int, sequence of int, or text such as ``2x1``
        Distance of the kernel's taps in samples.  Default: the kernel's own, else 1.
    bias : float or sequence of float
        Added at the end, in the array's units: one number, or one for each map.  Default: the kernel's own.
    flip : bool
        Mirror the kernel: true convolution instead of correlation.  Default: the kernel's own, else False.
    transpose : bool
        Transposed convolution: ``stride`` enlarges, and ``padding`` crops.
    output_padding : int, sequence of int, or text such as ``1x0``
        Samples by which a transposed convolution is longer at its end.
    pool : str
        After the kernels, such as ``max:2``, ``avg:3,s=2`` or ``global-max``.  Default: the last kernel's own.
    range : str
        ``float`` keeps the numbers, the default but for pictures of PIL.  ``clip``, ``abs``, ``offset``,
        ``offset:GAIN``, ``minmax``, a window ``LO:HI`` in the array's units or ``LO%:HI%`` of its white (of floats 1),
        and the others of the shell's ``--range`` give the array's integer type, or floats from 0 to 1; colour maps
        (``viridis:LO:HI``) give red, green and blue, uint8.  Integers beyond 2^53 are exact where the weights are
        whole; as floats they are rounded, with a warning.
    channels : str
        What a kernel with one input does with several channels: each alone, the brightness (Rec. 709) with the
        colours kept, the brightness alone, their mean, or the sum of all.
    axis : str
        Letters of the axes that the kernel slides along, such as ``y``.  Default: the last ones.
    axes : str
        Letters of the array's dimensions in their order, each of N, C, T, Z, Y, X at most once, such as ``YXC``;
        those along N are independent items, each filtered alone.  Default: every dimension is space.
    missing : str
        A missing sample (NaN) spoils each output whose window holds it (the default), is skipped (the weights of the
        others are renormalised; for kernels without negative weights), or is an error; ``keep`` skips too, and outputs
        at missing samples stay missing, which is the default with ``mask``.
    spacing : str or sequence of str
        How far samples lie apart, with a unit, such as ``"30m"``; one for all axes of space, or one for each in the
        array's order, such as ``("3mm", "1mm", "1mm")``.  Kernels count in units then: ``gaussian:sigma=2mm``.
    mask : array_like
        Zero where samples are missing; of the array's shape or that of its last axes, such as one mask (Y, X) for all
        frames.
    min_weight : float
        Share of the kernel's weights, 0 to 1, that must be present for a result where samples are skipped; of a pool's
        samples, too.  Default: any.
    interpolate : bool
        Fill missing samples first, with the mean under a Gaussian of sigma 1, so that kernels with negative weights can
        be used; what it does not reach stays missing.  ``missing`` is then ``skip`` unless given.
    region : (x, y, width, height), [(x, y), (x, y), (x, y), ...], str, array of bool, or a list of these
        Filter only there, in pixels: in a rectangle, between corners, as the shell writes it, or where a mask (Y, X)
        is true.  The rest stays as it is, so that size, channels and type must; ranges are measured inside.
    dtype : str
        Arithmetic.  ``auto``: float32; float64 for float64 and for integers of 32 bits or more.
    engine : str
        ``auto``: the one that is expected to be quicker.  With ``torch``, the result for a tensor that requires
        gradients has them, where all is convolutions and numbers.
    device : str
        ``cpu``, or for torch ``cuda`` or ``cuda:1``.
    threads : int
        Processor threads.  Default: as many as the process may use.

    Returns
    -------
    ndarray, or what ``array`` was
        Axes in the array's order; a bank's maps are a new first dimension, or take the place of the channels that
        they sum over.  A DataArray keeps its coordinates, moved with the windows; a table its labels of columns and
        rows; a picture is one again, and of a Dask array, or one inside a DataArray, each block is computed when it is
        asked for.

    Raises
    ------
    convcli.UsageError
        Unknown names and values that are not possible, a kernel that does not fit the array.
    convcli.ConvError
        A kernel file that cannot be read, too little memory, a missing value with ``missing="error"``.

    >>> import numpy as np
    >>> filter([-1, 4, 11, 14, 21, 25, 30], "smooth3", padding="valid").round(2).tolist()
    [4.62, 9.57, 15.18, 19.8, 25.08]
    >>> filter(np.eye(3, dtype="uint8") * 90, "box:3", range="clip").dtype
    dtype('uint8')
    """
    asked = dict(locals())
    del asked["array"]
    if isinstance(array, np.ma.MaskedArray) and mask is None:
        asked["mask"] = ~np.ma.getmaskarray(array)
        made = filter(array.data, **asked)
        if made.dtype.kind != "f" and not asked["mask"].all():
            raise UsageError(
                "a result of integers holds no missing samples of a masked array: leave out range="
            )
        return np.ma.masked_invalid(made, copy=False)
    if type(array) is np.ndarray and (planned := _PLANNED.get(_key(array, asked))):
        made = planned.again(array)
        if made is not None:
            return made
    own = taken(array, axes)
    if own.tensor is not None and str(engine) != "torch":
        raise UsageError(
            "a tensor with gradients: engine='torch' keeps them, and tensor.detach() leaves them out"
        )
    data = _real(own.array, "cannot be filtered")
    if own.lazy is not None and threads is None:
        threads = 1  # of each block, beside others
    key = None if own.form or own.is_picture or own.lazy is not None else _key(data, asked)
    if planned := _PLANNED.get(key):
        work = planned.of(ArraySource(data, planned.source.info))
        return _made(own, work, data)
    threads = None if threads is None else in_range(whole(threads, "threads"), "threads", 1)
    source: Source = ArraySource(data, own.form or _axes(data.shape, axes))
    source.info = replace(source.info, volume=source.info.volume or "Z" in str(axes or "").upper())
    if spacing is not None:
        source.info = _spaced(source.info, spacing)
    if mask is not None:
        marks = _real(mask, "cannot be a mask")
        letters = source.info.letters if marks.shape == data.shape else _axes(marks.shape, None)
        source = Masked(source, ArraySource(marks, letters))
    info = item_of(source.info)
    settings = _settings(**{name: asked[name] for name in _OPTIONS})
    chosen, kernels = parse_choice(Channels, str(channels), "channels"), list[Kernel]()
    width = filtered_channels(info, chosen)
    for one in _several(kernel):
        if isinstance(one, str) and (spacing is not None or own.form is not None):
            one, _ = kernel_for(one, kernels, info, settings, width, load_kernel)
        kernels.append(_kernel(one, default_rank(info, settings.axis)))
    policy = None if missing is None else parse_choice(Missing, str(missing), "missing")
    least = in_range(_number(min_weight, "min weight"), "min weight", 0, 1)
    job = draft(
        info,
        kernels,
        settings,
        channels=chosen,
        range=None
        if range is None and own.is_picture
        else parse_range("float" if range is None else str(range)),
        precision=parse_choice(Precision, str(dtype), "dtype"),
        gaps=Gaps(Rule(policy, least), interpolate=_truth(interpolate, "interpolate")),
        holds=own.holds or ("float32", "float64", "uint8", info.dtype),
        keeps_numbers=not own.is_picture,
        areas=Areas(_regions(region, "region")),
    )
    resources = Resources(parse_choice(EngineName, str(engine), "engine"), str(device), threads)
    work = Pipeline(job, source, resources, arrays=True)
    if key and (not isinstance(kernel, str) or is_known(kernel)) and len(_PLANNED) < MOST_PLANNED:
        nothing = np.broadcast_to(data.dtype.type(0), data.shape)
        _PLANNED[key] = work.of(ArraySource(nothing, source.info))
    return _made(own, work, data)


def filter_file(
    file: str | PathLike[str],
    kernel: OneKernel | Sequence[OneKernel] | None = None,
    output: str | PathLike[str] | None = None,
    *,
    force: bool = False,
    **options: Any,
) -> Any:
    """Filter a file of any format that the shell reads; write the result, or return it as an array.

    Parameters
    ----------
    file : str or path
        A picture, table, sound, clip, volume, map or array; it is read whole.
    kernel : str, Kernel, array_like, or a list of these
        As in `filter`; sizes may be in the file's units.
    output : str or path
        Where to write, in the format of its suffix.
    force : bool
        Overwrite an output that is there.
    **options
        As in `filter`; ``axes`` are the letters of an array's dimensions.

    Returns
    -------
    Path or ndarray
        The output's name; without one the result, pixels for pictures and numbers for the rest.

    Raises
    ------
    convcli.UsageError
        As `filter`, and for an output of an unknown format or one that cannot hold the result.
    convcli.ConvError
        A file that cannot be read or written.
    """
    from convcli.media import forms, opening
    from convcli.media.files.target import about_input
    from convcli.media.options import ReadOptions

    name, path = fspath(file), None if output is None else fspath(output)
    with ExitStack() as stack:  # a clip's sound is read while the result is written
        with about_input(name):
            given = stack.enter_context(closing(opening.Given(name)))
            format, notes = given.identify()
            written = format if path is None else opening.output_format(path)
            reading = ReadOptions(axes=options.pop("axes", None), all_frames=written.film)
            source = stack.enter_context(closing(given.open(format, reading)))
            own = Taken(
                source.read(source.info.box),
                source.info,
                lambda result, made, _: (result, made),
                is_picture=not written.numbers,
                holds=written.dtypes,
            )
            result, made = filter(own, kernel, **options)  # type: ignore[arg-type]
        if path is None:
            return result
        forms.check(made, written)
        form = forms.form(made, written)
        if len(form.letters) < len(made.letters):
            raise UsageError(
                f"{written.name.upper()} files cannot hold the maps of a bank: write .npy or .tif"
            )
        result = result.transpose([made.letters.index(letter) for letter in form.letters])
        lost = opening.write(path, written, form, result, force=_truth(force, "force"))
        for note in (*notes, *made.notes, *lost):
            warnings.warn(note, stacklevel=2)
    return Path(path)


def _made(own: Taken, work: Pipeline, data: np.ndarray) -> Any:
    """Return the result of a filter as what the array was."""
    tally, where = Tally(), lambda: work.job.origins
    if own.lazy is not None:
        from convcli.execution.lazy import lazily

        return own.give(lazily(own.lazy, work), work.result, where)
    found = work.again(data)
    if found is None:
        found = work.array(tally, data)
    if tally.rounded:
        warnings.warn(ROUNDED, stacklevel=3)
    result = own.give(found, work.result, where)
    if own.tensor is None:
        return result
    from convcli.networks.torch_gradients import attached

    return attached(own.tensor, result, work)


def shape(size: str, *layers: str) -> str:
    """Return the output size of layers, as ``convcli shape -q`` prints it.

    Parameters
    ----------
    size : str
        ``[C@]SIZE`` in samples, such as ``3@32x32``; or the file of a net, YAML or ONNX.
    *layers : str
        Such as ``conv:6@5x5``, ``pool:max:2``; of a net the input's size, where it is not the net's own.

    Returns
    -------
    str
        In the same form.

    Raises
    ------
    convcli.UsageError
        For a size or a layer that cannot be read, and for a layer that does not fit.

    >>> shape("28x28", "conv:5,s=2,p=2", "pool:max:2")
    '7x7'
    """
    from convcli.networks import SUFFIXES

    if Path(str(size)).suffix.lower() in SUFFIXES:
        from convcli.geometry.graph import Shape
        from convcli.networks.parse import load_net

        if len(layers) > 1:
            raise UsageError(f"{size} has its own layers: give no more than the input's size with it")
        asked = [Shape(channels or 1, sizes) for channels, sizes in map(parse_size, layers)]
        net = load_net(Path(str(size)), given=asked[0] if asked else None)
        given = asked[0] if asked else net.input
        if given is None:
            raise UsageError("say the input's size, such as 3@32x32", subject=net.title)
        return str(net.trace(net.preprocess.output(given))[-1].output)
    channels, sizes = parse_size(str(size))
    rows = trace(parse_layers(map(str, layers)), channels, sizes)
    return rows[-1].output if rows else format_size(channels, sizes)


def matrix(size: str, kernel: OneKernel, **options: Unpack[KernelOptions]) -> Matrix:
    """Return a convolution as a matrix, as ``convcli matrix`` makes it: y = W vec(x) + offset.

    Parameters
    ----------
    size : str
        ``[C@]SIZE`` of the input in samples, such as ``4x4``.
    kernel : str, Kernel or array_like
        As in `filter`.
    **options
        ``stride``, ``padding`` (default 0), ``pad_mode``, ``pad_value``, ``dilation``, ``bias``, ``flip``,
        ``transpose``, ``output_padding`` and ``axis`` as in `filter`.

    Returns
    -------
    Matrix
        With ``dense()``, ``times(x)``, ``csr()``, ``shape``, ``offset`` and ``structure``.

    Raises
    ------
    convcli.UsageError
        For a size, a kernel or an option that is not possible, and what is not linear.

    >>> matrix("3", [1, 2], stride=1).dense().tolist()
    [[1.0, 2.0, 0.0], [0.0, 1.0, 2.0]]
    """
    from convcli.explanations.matrix import convolution_matrix, unpadded

    channels, sizes = parse_size(str(size))
    made = _kernel(kernel, min(len(sizes), 2)).weighted()
    settings = unpadded(_settings(**options), made)
    stage = bind([made], settings, SPACE[-len(sizes) :], sizes, channels or 1).stages[0]
    if not isinstance(stage, ConvStage):
        raise UsageError("a pool is not linear: no matrix does that", subject=made.title)
    return convolution_matrix(stage, sizes, channels or 1)


def explain(
    array: ArrayLike,
    kernel: OneKernel | None = None,
    *,
    at: int | Sequence[int],
    pool: str | None = None,
    map: int | None = None,
    channel: int | None = None,
    channels: ChannelsName = "each",
    axes: str | None = None,
    **options: Unpack[KernelOptions],
) -> ConvExplanation | PoolExplanation:
    """Take one output of `filter` apart, as ``convcli explain`` does: taps, products, sums.

    Parameters
    ----------
    array : array_like
        As in `filter`.
    kernel : str, Kernel or array_like
        One kernel; may be left out where ``pool`` is given.
    at : int or sequence of int
        Which output, counted from 0, one index for each axis of space; before them which item, if there is an axis N.
    pool : str
        Such as ``max:2``; it is explained where it is given.
    map, channel : int
        Only this output of a bank, this channel of the input.
    channels, axes
        As in `filter`.
    **options
        As in `matrix`, with the default padding of `filter`.

    Returns
    -------
    ConvExplanation or PoolExplanation
        Its ``values`` are what `filter` computes there; ``sums`` and ``outputs`` have the taps.

    Raises
    ------
    convcli.UsageError
        For what is not possible, and a place outside the output.

    >>> found = explain([-1, 4, 11, 14], [1, -1], at=1, padding="valid")
    >>> [(one.value, one.weight) for one in found.sums[0].channels[0].taps], found.values
    ([(4, 1), (11, -1)], (-7.0,))
    """
    from convcli.explanations.task import check_place, explained, prepare

    data = _real(array, "cannot be explained")
    source: Source = ArraySource(data, _axes(data.shape, axes))
    settings = _settings(**options, pool=pool)
    kernels = [_kernel(one, default_rank(source.info, settings.axis)) for one in _several(kernel)]
    place = tuple(whole(one, "place") for one in _listed(at))
    if ITEMS in source.info.letters and place:
        number, *others = place
        source, place = item(source, number), tuple(others)
    task = prepare(source, kernels, settings, parse_choice(Channels, str(channels), "channels"), Gaps())
    check_place(place, task)
    return explained(task, place, map, channel)


@overload
def learn(
    array: ArrayLike, target: ArrayLike, size: Numbers, *, seek_bias: bool = ..., minimum_norm: bool = ...,
    axes: str | None = ..., **options: Unpack[KernelOptions],
) -> Fit: ...  # fmt: skip
@overload
def learn(
    array: ArrayLike, target: ArrayLike | None = ..., *, net: str | PathLike[str], weights: Weights | None = ...,
    axes: str | None = ..., **options: Unpack[TrainingOptions],
) -> State: ...  # fmt: skip
def learn(
    array: ArrayLike,
    target: ArrayLike | None = None,
    size: Numbers | None = None,
    *,
    net: str | PathLike[str] | None = None,
    weights: Weights | None = None,
    seek_bias: bool = True,
    minimum_norm: bool = False,
    axes: str | None = None,
    **options: Any,
) -> Fit | State:
    """Return the kernel that turns an array into a target with the least squared error, or train a net.

    As ``convcli learn --size`` and ``convcli learn --net``.

    Parameters
    ----------
    array, target : array_like
        As in `filter`; of as many channels one kernel serves all, else each map sums over the channels.  Of a net the
        examples along N: targets are arrays (N, …) of what the net makes of each, scaled as the net scales its inputs,
        for ``loss="ce"`` the numbers of the classes, and without any the inputs themselves.
    size : int, sequence of int, or text such as ``3x3``
        Of the kernel.
    net : str or path
        YAML of the net whose weights are learned.
    weights : str, path or mapping
        What a net starts from, as in `net`.
    seek_bias : bool
        Seek a constant beside the weights.
    minimum_norm : bool
        Of all kernels that fit equally take the smallest, instead of an error.
    axes : str
        Letters of the dimensions of both, as in `filter`.
    **options
        As in `matrix`; ``padding`` is by default what fits the sizes.  Of a net ``epochs``, ``loss``, ``optimizer``,
        ``rate``, ``momentum``, ``batch``, ``seed``, ``patience`` and ``held_out``, as in the shell.

    Returns
    -------
    Fit
        ``weights`` (out, in, *size), ``bias``, ``rms``, ``explained`` and how sure they are.
    State
        Of a net: ``kept``, arrays by LAYER.PARAMETER that `net` takes as ``weights``, and the ``curve`` of the loss.

    Raises
    ------
    convcli.UsageError
        For sizes that do not fit.
    convcli.ConvError
        When the data do not determine the kernel.

    >>> learn([1, 4, 2, 8, 5], [-3, 2, -6, 3], 2).weights.round(9).tolist()
    [[[1.0, -1.0]]]
    """
    from convcli.learning.least_squares import Example, fit, fitting

    if net is not None:
        return _trained(Path(net), array, target, weights, axes, options)
    if size is None or target is None:
        raise UsageError("a kernel is learned from array, target and size, a net from net='net.yaml'")
    x, y = (
        ArraySource(data := _real(one, "is no example"), _axes(data.shape, axes)) for one in (array, target)
    )
    letters, inputs, maps = canonical(x.info), x.info.channels, y.info.channels
    given = _wholes(size, "size") or ()
    taps = given * min(len(letters), 2) if len(given) == 1 else given
    shape = (1, 1, *taps) if inputs == maps else (maps, inputs, *taps)
    sought = Kernel("learned", shape, (0.0,) * math.prod(shape))
    sizes = [[one.info.size(letter) for letter in letters] for one in (x, y)]
    form = letters, sizes[0], inputs
    chain, _ = fitting(_settings(**options), sought, form, tuple(sizes[1]), {})
    stage = chain.stages[0]
    assert isinstance(stage, ConvStage)
    before, after = (channels_first(one, letters, box_of(n)) for one, n in zip((x, y), sizes, strict=True))
    example = Example(stage, before, after, options.get("pad_mode") is not None, None)
    return fit(
        [example], bias=_truth(seek_bias, "seek_bias"), minimum_norm=_truth(minimum_norm, "minimum_norm")
    )


def _trained(
    path: Path,
    array: ArrayLike,
    target: ArrayLike | None,
    weights: Weights | None,
    axes: str | None,
    options: dict[str, Any],
) -> State:
    """Train a net on the items of arrays."""
    import torch

    from convcli.geometry.graph import Shape
    from convcli.learning.examples import Example, Examples, split
    from convcli.learning.torch_training import Training, check_loss
    from convcli.learning.training import Loss, Optimizer, Settings
    from convcli.networks.parse import load_net
    from convcli.networks.torch_run import preprocess, tensors

    unknown = options.keys() - TrainingOptions.__annotations__.keys()
    if unknown:
        known = ", ".join(TrainingOptions.__annotations__)
        raise UsageError(f"a training has no {', '.join(sorted(unknown))}: it has {known}")
    for name, kind in (("loss", Loss), ("optimizer", Optimizer)):
        if name in options:
            options[name] = parse_choice(kind, str(options[name]), name)
    for name, least in (("epochs", 1), ("batch", 1), ("patience", 1), ("seed", 0)):
        if options.get(name) is not None:
            options[name] = in_range(whole(options[name], name), name, least)
    for name in ("rate", "momentum", "held_out"):
        if options.get(name) is not None:
            options[name] = in_range(_number(options[name], name), name, 0)
    settings, found = Settings(**options), load_net(path)
    raw = [torch.from_numpy(np.array(one, np.float32)) for one in _inputs(array, axes)[0]]
    inputs = [preprocess(found.preprocess, one[None])[0] for one in raw]
    steps = found.trace(Shape(len(inputs[0]), tuple(inputs[0].shape[1:])))
    output = steps[-1].output
    check_loss(found, output, settings.loss)
    shape = (output.channels, *output.sizes)
    if target is None:
        targets = inputs
    elif settings.loss is Loss.CE:
        targets = [torch.tensor(number) for number in _real(target, "is no target").astype(int).ravel()]
        shape = ()
    else:
        given = _real(target, "is no target").astype(np.float32) * found.preprocess.scale
        targets = list(torch.from_numpy(given if given.ndim > len(shape) else given[None]))
    if len(targets) != len(inputs) or any(tuple(one.shape) != shape for one in targets):
        raise UsageError(
            f"targets are {len(targets)} of the shape {tuple(targets[0].shape) if targets else ()}, and the net makes "
            f"{len(inputs)} of {shape}"
        )
    examples = Examples(lambda number: Example(inputs[number], targets[number]), range(len(inputs)))
    begun = tensors(_parameters(steps, weights, settings.seed))
    training = Training(found, *split(examples, settings), begun, settings)
    for _ in training.epochs():
        pass
    assert training.state is not None
    return training.state


def net(
    file: str | PathLike[str],
    array: ArrayLike,
    *,
    layer: str | int | None = None,
    weights: Weights | None = None,
    seed: int | None = None,
    axes: str | None = None,
    dtype: DtypeName = "auto",
    device: str = "cpu",
) -> Output:
    """Run a net on an array, as ``convcli net run`` does.

    Parameters
    ----------
    file : str or path
        YAML, or an ONNX model.
    array : array_like
        An input, its dimensions as ``axes`` says, such as ``CYX``; several along N.
    layer : str or int
        Name or number of the layer whose output is wanted.  Default: the last.
    weights : str, path or mapping
        A file of arrays named LAYER.weight, LAYER.bias, or such arrays, as `learn` returns them.
    seed : int
        Of random weights, where the net gives neither numbers nor a seed.
    axes, dtype, device
        As in `filter`.

    Returns
    -------
    Output
        The name of the layer, its ``shape``, the ``values`` (channels, *space), or the numbers of a flat layer, with
        the items of N first, and the ``labels`` of the net's classes.

    Raises
    ------
    convcli.UsageError
        For a net that does not fit the array.
    convcli.ConvError
        For a file that cannot be read.
    """
    from convcli.geometry.graph import Shape
    from convcli.networks.parse import load_net
    from convcli.networks.torch_run import Output, TorchNet

    inputs, several = _inputs(array, axes)
    given, found = Shape(len(inputs[0]), inputs[0].shape[1:]), load_net(Path(file))
    if found.reread is not None and found.input != given:
        found = load_net(found.reread, given=given)
    steps = found.trace(found.preprocess.output(given))
    precision = compute_type(inputs[0].dtype.name, parse_choice(Precision, str(dtype), "dtype"))
    model = TorchNet.load(found, steps, _parameters(steps, weights, seed), precision, str(device))
    model = model if layer is None else model.upto(str(layer))
    values = [model.run(one) for one in inputs]
    last = model.steps[-1]
    labels = found.labels if last is steps[-1] else ()
    return Output(last.name, str(last.output), np.stack(values) if several else values[0], labels)


def _inputs(array: ArrayLike, axes: str | None) -> tuple[list[np.ndarray], bool]:
    """Return inputs of a net, each (channels, *space), and whether they are the items of an axis N."""
    data = _real(array, "is no input")
    source = ArraySource(data, _axes(data.shape, axes))
    several = ITEMS in source.info.letters
    found = []
    for one in items(source) if several else [source]:
        letters = canonical(one.info)
        found.append(channels_first(one, letters, box_of(tuple(map(one.info.size, letters)))))
    if not found:
        raise UsageError("there are no items along N")
    return found, several


def _parameters(steps: Sequence[Step], weights: Weights | None, seed: int | None) -> Mapping[str, np.ndarray]:
    """Return the parameters of a net's layers, from what was given where it has them."""
    from convcli.networks.model import parameters_of
    from convcli.networks.weights import initial

    given = weights if weights is None or isinstance(weights, Mapping) else Path(weights)
    return initial(parameters_of(steps), given, seed, None)


@overload
def motion(
    clip: ArrayLike | str | PathLike[str], kernel: str | Kernel = ..., *, picture: Literal[False] = ...,
    threshold: float | Literal["auto"] = ..., min_area: float | str = ...,
    min_duration: float = ..., merge_gap: float = ...,
    region: Where | None = ..., ignore: Where | None = ...,
    stride: Sequence[int] | None = ..., denoise: int = ..., stabilise_light: bool = ...,
    axes: str | None = ..., fps: float | str | None = ..., engine: EngineChoice = ..., raw_times: bool = ...,
) -> list[Event]: ...  # fmt: skip
@overload
def motion(
    clip: ArrayLike | str | PathLike[str], kernel: str | Kernel = ..., *, picture: Literal[True],
    threshold: float | Literal["auto"] = ..., min_area: float | str = ...,
    min_duration: float = ..., merge_gap: float = ...,
    region: Where | None = ..., ignore: Where | None = ...,
    stride: Sequence[int] | None = ..., denoise: int = ..., stabilise_light: bool = ...,
    axes: str | None = ..., fps: float | str | None = ..., engine: EngineChoice = ..., raw_times: bool = ...,
) -> tuple[list[Event], np.ndarray]: ...  # fmt: skip
def motion(
    clip: ArrayLike | str | PathLike[str],
    kernel: str | Kernel = "motion",
    *,
    picture: bool = False,
    threshold: float | Literal["auto"] = "auto",
    min_area: float | str = "0.02%",
    min_duration: float = 0.1,
    merge_gap: float = 0.25,
    region: Where | None = None,
    ignore: Where | None = None,
    stride: Sequence[int] | None = None,
    denoise: int = 1,
    stabilise_light: bool = False,
    axes: str | None = None,
    fps: float | str | None = None,
    engine: EngineChoice = "auto",
    raw_times: bool = False,
) -> list[Event] | tuple[list[Event], np.ndarray]:
    """Find motion in a clip; every option means what it means in the shell.

    Parameters
    ----------
    clip : array_like, str or path
        Frames, shape (T, Y, X) or (T, Y, X, C), or a file: a clip, an animation, ``.npy``, ``frames/%04d.png``.
    kernel : str or Kernel
        Of rank 3 (time, y, x), with one output.
    picture : bool
        Return also what ``convcli motion`` draws.
    threshold : float or "auto"
        Grey levels of 255 by which a pixel must differ; by default from the clip's noise.
    min_area : float or str
        Pixels of the smallest connected region that moves, or a share of the picture such as ``"0.1%"``.
    min_duration : float
        Seconds that an event must last.
    merge_gap : float
        Seconds; stillness of at most so long does not end an event.
    region : (x, y, width, height), [(x, y), (x, y), (x, y), ...], str, array of bool, or a list of these
        Look only there: in a rectangle, between corners, as the shell writes it, or where a mask (Y, X) is true.
    ignore : as ``region``
        Do not look there.
    stride : sequence of int
        Steps along time, y and x, in frames and pixels.
    denoise : int
        How many frames are averaged first.
    stabilise_light : bool
        Take out changes of light, gain and offset; ``threshold="auto"`` always does.
    axes : str
        Letters of an array's dimensions in another order, such as ``CTYX``.
    fps : float or str
        Frames a second of what carries no time: arrays, numbered pictures.  Default: 25.
    engine : str
        ``auto``: the one that is expected to be quicker.
    raw_times : bool
        Give the file's own time stamps; by default times count from the first one, as players show them.

    Returns
    -------
    list of Event
        In order of time; times in seconds, frames counted from 0, boxes (x, y, width, height) in pixels.
    ndarray
        With ``picture``: shape (T, Y, X), 8 or 16 bits, one picture for each result; rest is mid grey.

    Raises
    ------
    convcli.UsageError
        Values that are not possible, a kernel of another rank, and what is not a clip.
    convcli.ConvError
        A file that cannot be read.

    >>> import numpy as np
    >>> clip = np.zeros((20, 48, 64), np.uint8)
    >>> clip[8:12, 20:30, 20:30] = 200
    >>> [(event.start_frame, event.end_frame, event.box) for event in motion(clip)]
    [(8, 12, (19, 19, 12, 12))]
    """
    from convcli.common.numbers import parse_rate
    from convcli.detection.area import Area, Watching, parse_area
    from convcli.detection.detector import Watch, motion_kernel
    from convcli.media.options import ReadOptions
    from convcli.media.timing import clip_of, schedule

    picture = _truth(picture, "picture")
    if whole(denoise, "denoise") < 1:
        raise UsageError(f"denoise {denoise} is not possible: give a number of frames from 1 on")
    least = None
    if str(threshold) != "auto":
        least = _number(threshold, "threshold", give="auto, or grey levels of 255")
    spans = _number(min_duration, "min duration"), _number(merge_gap, "merge gap")
    if min(*spans, least or 0) < 0:
        raise UsageError("threshold, min_duration and merge_gap: give 0 or more")
    finds = motion_kernel(_kernel(kernel, 3))
    how = Watching(
        threshold=least,
        min_area=parse_area(min_area) if isinstance(min_area, str) else Area(_number(min_area, "min area")),
        min_duration=spans[0],
        merge_gap=spans[1],
        denoise=denoise,
        stabilise_light=_truth(stabilise_light, "stabilise_light"),
    )
    work = _wholes(stride, "stride"), parse_choice(EngineName, str(engine), "engine")
    areas = Areas(_regions(region, "region"), _regions(ignore, "ignore"))
    rate = None if fps is None else parse_rate(str(fps))
    options = ReadOptions(axes=None if axes is None else str(axes), all_frames=True, grey=True, rate=rate)
    with closing(_open_clip(clip, options, areas.mask if areas != Areas() else None)) as source:
        start = float(clip_of(source.info.companions).start) if _truth(raw_times, "raw_times") else 0.0
        watch = Watch(source, finds, how, schedule(source.info.axis("T")), start, *work)
        drawn = np.empty((len(watch.frames) if picture else 0, *watch.shape), watch.dtype)
        limits = watch.threshold()
        for note in watch.doubts:
            warnings.warn(note, stacklevel=2)
        for index, sight in enumerate(watch.sights(limits)):
            if picture:
                drawn[index] = watch.picture(sight.values)
    return (watch.detector.events, drawn) if picture else watch.detector.events


def _key(data: np.ndarray, asked: dict[str, Any]) -> Hashable:
    """Return what the plan of a filter depends on; None where that is more than the words of the call."""
    kernel = asked["kernel"]
    if type(kernel) is np.ndarray and kernel.dtype.kind in "iuf" and kernel.nbytes <= MOST_REMEMBERED:
        asked = {**asked, "kernel": f"{kernel.shape}{kernel.dtype}".encode() + kernel.tobytes()}
    values = tuple(asked.values())
    kinds = tuple(map(type, values))  # 1, 1.0 and True are equal
    if not _WORDS.issuperset(kinds) or asked["region"] is not None:
        return None
    threads = asked["threads"] or available_threads()
    signs = f"{asked['pad_value']}{asked['bias']}"  # 0.0 and -0.0 are equal
    return data.shape, data.dtype, threads, "torch" in sys.modules, signs, values, kinds


def _settings(**given: Any) -> Settings:
    """Return what the options of a kernel mean; None is not said."""
    if unknown := given.keys() - _OPTIONS:
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    said = {name: value for name, value in given.items() if value is not None or name == "transpose"}
    made = {name: _OPTIONS[name](value) for name, value in said.items()}
    return Settings(**{_CALLED.get(name, name): value for name, value in made.items()})


def _real(array: Any, refusal: str) -> np.ndarray:
    """Return an array of integers or floats in the machine's order of bytes; booleans become 0 and 1."""
    if isinstance(array, np.ma.MaskedArray):
        raise UsageError(f"a masked array {refusal}: fill it, e.g. with NaN")
    try:
        data = np.asarray(array)
    except ValueError:
        raise UsageError(f"what is given {refusal}: its lists are not all equally long") from None
    except (
        Exception
    ) as error:  # tensors elsewhere, with gradients, or whatever an object raises that is asked for one
        raise UsageError(f"what is given {refusal}: {' '.join(str(error).split())}") from None
    if data.dtype.kind == "b":
        data = data.astype(np.uint8)
    if data.dtype.kind not in "iuf":
        raise UsageError(f"an array of type {data.dtype} {refusal}: give real numbers")
    return data.astype(data.dtype.newbyteorder("="), copy=False)


def _regions(given: Any, what: str) -> tuple[Polygon | Stencil, ...]:
    """Return what one region or a list of them means."""
    from convcli.geometry.areas import Stencil, parse_region
    from convcli.media.clip_view import light_part

    if getattr(given, "ndim", None) == 0:
        given = given.item()
    if given is None:
        return ()
    if isinstance(given, str | PathLike):
        return (parse_region(fspath(given), what, light_part),)
    if getattr(given, "ndim", 0) == 2 and np.asarray(given).dtype == bool:
        return (Stencil(what, np.asarray(given)),)
    parts = list(given) if isinstance(given, Iterable) else [given]
    sizes = {0 if isinstance(part, str) else len(part) for part in parts if hasattr(part, "__len__")}
    if sizes == {2}:
        return (parse_region(" ".join(",".join(map(str, part)) for part in parts), what),)
    if not sizes:
        return (parse_region(",".join(map(str, parts)), what),)
    return tuple(region for part in parts for region in _regions(part, what))


def _open_clip(clip: ArrayLike | str | PathLike[str], options: ReadOptions, watched: Watched | None) -> Part:
    from convcli.media.clip_view import Part, open_clip
    from convcli.media.opening import timed

    if isinstance(clip, str | PathLike):
        return open_clip(fspath(clip), options, watched)
    data = _real(clip, "is not a clip")
    axes = (options.axes or {3: "TYX", 4: "TYXC"}.get(data.ndim, "")).upper()
    if len(axes) != data.ndim or sorted(axes.replace("C", "")) != sorted("TYX") or axes.count("C") > 1:
        raise UsageError(
            f"an array of shape {data.shape} is not a clip: give frames (T, Y, X) or (T, Y, X, C), or axes='CTYX'"
        )
    source = ArraySource(data, axes)
    if source.info.channels in _COLOURS_OF_CLIPS and "C" in axes:
        source.info = replace(source.info, colour=_COLOURS_OF_CLIPS[source.info.channels])
    if options.rate is not None:
        source.info = timed(source.info, options.rate)
    return Part(source, watched)


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
    letters = str(axes).upper()
    if (
        len(letters) != len(shape)
        or len(set(letters)) != len(letters)
        or set(letters) - set(ITEMS + SPACE + "C")
    ):
        raise UsageError(
            f"axes {axes!r} do not name the {len(shape)} dimensions of shape {shape}: one of N, C, T, Z, Y, X each"
        )
    return letters


def _spaced(info: Info, spacing: Any) -> Info:
    """Return an array's form with the distances of its samples along the axes of space."""
    given = [split_unit(str(one)) for one in _listed(spacing)]
    letters = [letter for letter in info.letters if letter in SPACE]
    known = [one for one in given if one and one[0] > 0 and one[1] in UNITS]
    if len(known) < len(given) or len(given) not in (1, len(letters)):
        raise UsageError(
            f"spacing {quoted(spacing)} is not possible: give a number and a unit, such as 30m, for all axes of "
            f"{', '.join(letters)} or for each"
        )
    each = zip(letters, known * (len(letters) // len(known)), strict=True)
    return info.placed(**{letter: Even(Fraction(0), *one) for letter, one in each})


def _several(kernel: Any) -> list[Any]:
    """Return the kernels of a list that names any or holds arrays; nested lists of numbers are one kernel."""
    if kernel is None:
        return []
    listed = isinstance(kernel, list | tuple)
    if listed and (not kernel or any(one is None for one in kernel)):
        raise UsageError(f"kernel {quoted(kernel)} is not possible: give a kernel, or a list of some")
    if listed and any(isinstance(one, str | Kernel) or getattr(one, "ndim", 0) for one in kernel):
        return list(kernel)
    return [kernel]


def _kernel(kernel: Any, rank: int) -> Kernel:
    if isinstance(kernel, Kernel):
        return kernel
    if isinstance(kernel, str):
        return load_kernel(kernel, rank)
    return Kernel.from_array(kernel, rank=1 if rank == 1 else None)


def _wholes(value: Any, what: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_numbers(value, what)
    found = tuple(whole(one, what) for one in _listed(value))
    if not found:
        raise UsageError(f"{what} is empty: give a whole number, or one for each axis")
    return found


def _listed(value: Any) -> Any:
    """Return what is given for each axis; anything but a list is one value for all."""
    if isinstance(value, np.ndarray):
        return np.atleast_1d(value)
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)


def _number(value: Any, what: str, *, give: str = "a number", nan: bool = False) -> float:
    try:
        number = math.nan if isinstance(value, str | bytes | np.ma.MaskedArray) else float(value)
    except (TypeError, ValueError, OverflowError):
        number, nan = math.nan, False
    if math.isnan(number) and not (nan and isinstance(value, float | np.floating)):
        raise UsageError(f"{what} {quoted(value)} is not possible: give {give}")
    return number


def _truth(value: Any, what: str) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise UsageError(f"{what} {quoted(value)} is not possible: it is True or False")
    return bool(value)


def _padding(value: Any) -> tuple[Padding, ...]:
    if isinstance(value, str):
        return parse_padding(value)
    return tuple(map(_one_padding, _listed(value)))


def _one_padding(value: Any) -> Padding:
    if isinstance(value, str):
        return parse_padding(value)[0]
    if not np.ndim(value):
        return (whole(value, "padding"),) * 2
    pair = _listed(value)
    if len(pair) != 2:
        raise UsageError(f"padding {quoted(value)} is not a pair: give (before, after), a number or a name")
    return whole(pair[0], "padding"), whole(pair[1], "padding")


def _bias(value: Any) -> tuple[float, ...]:
    found = tuple(_number(one, "bias") for one in _listed(value))
    if not found:
        raise UsageError("bias is empty: give a number, or one for each map")
    return found


_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "stride": lambda value: _wholes(value, "stride"),
    "padding": _padding,
    "pad_mode": lambda value: parse_pad_mode(str(value)),
    "pad_value": lambda value: _number(value, "pad value", nan=True),
    "dilation": lambda value: _wholes(value, "dilation"),
    "bias": _bias,
    "flip": lambda value: _truth(value, "flip"),
    "transpose": lambda value: _truth(value, "transpose"),
    "output_padding": lambda value: _wholes(value, "output padding"),
    "axis": str,
    "pool": lambda value: parse_pool(str(value)),
}
_CALLED = {"transpose": "transposed"}  # of `Settings`

__all__ = ["explain", "filter", "filter_file", "learn", "matrix", "motion", "net", "shape"]
