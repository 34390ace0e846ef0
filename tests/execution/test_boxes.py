"""The contract of boxes: any partition of any job's output gives the bits of the whole."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from copy import copy
from dataclasses import replace
from functools import partial
from math import prod
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tifffile
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

import convcli
from convcli.common.choices import Channels, EngineName, Missing, Precision
from convcli.common.errors import UsageError
from convcli.data.box import Box, slices, whole
from convcli.data.info import STRIPS, ArraySource, Colour, Source
from convcli.execution.box import compute, measured
from convcli.execution.pipeline import Pipeline
from convcli.geometry.grammar import parse_pool
from convcli.geometry.padding import PadMode
from convcli.geometry.pools import POOLS
from convcli.jobs.bind import Settings
from convcli.jobs.job import Job, draft
from convcli.jobs.missing import Gaps, Rule
from convcli.kernel import load_kernel
from convcli.kernel.model import Kernel
from convcli.media import arrays, forms, registry
from convcli.media.opening import Location
from convcli.media.options import ReadOptions, WriteOptions
from convcli.pixels.ranges import POLICIES, parse_range
from convcli.pixels.render import Tally
from convcli.plan.choose import Plan, Resources

RANGES = ["float"] * 3 + [policy.example for policy in POLICIES]
COLOURS = {2: Colour.GREY_ALPHA, 3: Colour.RGB, 4: Colour.RGBA}


def partition(random: np.random.Generator, box: Box, cuts: int) -> Iterator[Box]:
    """Cut a box at random places of random axes, each part on its own."""
    axis = int(random.integers(len(box)))
    start, stop = box[axis]
    if not cuts or stop - start < 2:
        yield box
        return
    middle = int(random.integers(start + 1, stop))
    for span in ((start, middle), (middle, stop)):
        yield from partition(random, (*box[:axis], span, *box[axis + 1 :]), cuts - 1)


def axes_of_result(job: Job, box: Box) -> tuple[slice, ...]:
    index = dict(zip(job.letters, slices(box), strict=True))
    return tuple(index.get(letter, slice(None)) for letter in job.result.letters)


def in_parts(pipeline: Pipeline, boxes: list[Box]) -> tuple[np.ndarray, Tally]:
    """Compute boxes one by one, each on its own, and put them together."""
    job, tally = pipeline.job, Tally()
    with pipeline.engine:
        ends = measured(pipeline.runner, boxes)
    result = np.zeros(job.result.shape, job.result.dtype)
    for box in boxes:
        values, counted = compute(job, pipeline.plan, pipeline.source, box, ends)
        result[axes_of_result(job, box)] = values
        tally.add(counted)
    return result, tally


def pairs(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def jobs(draw: st.DrawFn, modes: st.SearchStrategy[PadMode]) -> tuple[Job, ArraySource]:
    """Draw a job of every kind: rank 1 to 3, colours with alpha, chains, banks, pools, transposed, any range."""
    rank = draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = draw(st.sampled_from([1, 2, 3, 4]))
    sizes = tuple(draw(st.integers(1, 11)) for _ in range(rank))
    letters = "ZYX"[-rank:] if draw(st.booleans()) or rank < 3 else "TYX"
    axes, shape = letters, sizes
    if channels > 1:
        axes, shape = draw(
            st.sampled_from([(f"{letters}C", (*sizes, channels)), (f"C{letters}", (channels, *sizes))])
        )
    dtype = draw(st.sampled_from(["uint8", "uint16", "int16", "float32", "float64"]))
    low, high = (-900, 900) if dtype == "int16" else (0, 256 if dtype == "uint8" else 4000)
    array = random.integers(low, high, shape).astype(dtype)
    if array.dtype.kind == "f":
        array += random.normal(size=shape)
    source = ArraySource(array, axes)
    if rank == 2 and axes.endswith("C"):
        source.info = replace(source.info, colour=COLOURS[channels])

    transposed = draw(st.integers(0, 4)) == 0
    kernels = []
    for _ in range(draw(st.integers(0 if not transposed else 1, 2))):
        size = tuple(draw(st.integers(1, 4)) for _ in range(draw(st.integers(1, rank))))
        signed = draw(st.booleans())
        weights = random.integers(-4 if signed else 0, 5, size) + draw(st.sampled_from([0, 0.25]))
        if draw(st.booleans()):
            weights[:] = 0.125  # a box
        weights.flat[0] = 1.5
        outputs = draw(st.sampled_from([1, 1, 2]))
        bank = tuple(np.stack([weights * (n + 1) for n in range(outputs)]).ravel().tolist())
        bias = tuple(random.normal(size=outputs).tolist()) if draw(st.booleans()) else ()
        kernels.append(Kernel("k", (outputs, 1, *size), bank, bias=bias))
    pool = None
    if not transposed and (not kernels or draw(st.booleans())):
        before = draw(st.integers(0, 4))
        pool = replace(
            parse_pool(
                f"{draw(st.sampled_from(POOLS))}:{draw(st.integers(1, 3))},s={draw(st.integers(1, 3))}"
            ),
            padding=((before, before + draw(st.integers(0, 2))),),
            ceil=draw(st.booleans()),
            include_padding=draw(st.booleans()),
        )
    mode = None if transposed else draw(modes)
    how = Settings(
        stride=(draw(st.integers(1, 3)),),
        dilation=(draw(st.integers(1, 3)),),
        padding=None if draw(st.booleans()) else (draw(pairs(0, 14)),),
        pad_mode=mode,
        pad_value=3.0 if mode is PadMode.CONSTANT else None,
        transposed=transposed,
        pool=pool,
    )
    floats = array.dtype.kind == "f"
    try:
        job = draft(
            source.info, kernels, how,
            channels=draw(st.sampled_from(list(Channels))),
            range=parse_range(draw(st.sampled_from(RANGES))),
            precision=Precision.AUTO,
            gaps=Gaps(Rule(Missing.SKIP if floats and draw(st.booleans()) else Missing.PROPAGATE)),
            holds=("float32", "float64", dtype),
            keeps_numbers=True,
        )  # fmt: skip
        assume(prod(job.result.shape) < 40_000)
    except UsageError:  # kernels larger than the data, ranks that do not fit, skip with negative weights
        assume(False)
        raise
    if job.missing is Missing.SKIP:
        array[random.random(shape) < 0.1] = np.nan
    return job, source


@settings(max_examples=300)
@given(jobs(st.sampled_from(list(PadMode))), st.integers(0, 2**32 - 1))
def test_partitions_give_the_bits_of_the_whole(drawn: tuple[Job, ArraySource], seed: int) -> None:
    job, source = drawn
    pipeline = Pipeline(job, source, Resources(EngineName.NUMPY, threads=1))
    output = whole(job.chain.output)
    expected, counted = in_parts(pipeline, [output])
    boxes = list(partition(np.random.default_rng(seed), output, 3))
    found, tally = in_parts(pipeline, boxes)
    np.testing.assert_array_equal(found, expected)
    assert (tally.clipped, tally.values, tally.nans) == (counted.clipped, counted.values, counted.nans)


class Shuffled(Pipeline):
    """Computes and writes the boxes of its plan in another order."""

    seed = 0

    @property
    def boxes(self) -> list[Box]:
        boxes = super().boxes
        return [boxes[index] for index in np.random.default_rng(self.seed).permutation(len(boxes))]


@settings(max_examples=80)
@given(
    jobs(st.sampled_from(list(PadMode))),
    st.sampled_from(["npy", "tiff"]),
    st.integers(1, 60_000),
    st.integers(2, 9),
    st.integers(0, 2**32 - 1),
)
def test_bricks_of_the_plan_give_the_file_of_the_whole(
    drawn: tuple[Job, ArraySource], name: str, memory: int, step: int, seed: int
) -> None:
    job, given = drawn
    saved, made = io.BytesIO(), io.BytesIO()
    np.save(saved, given.strip(0, given.info.length))
    source = arrays.source(saved, ReadOptions(axes=given.info.letters))
    source.info, format = given.info, registry.by_name(name)
    with mock.patch.multiple("convcli.plan.choose", MOST_MEMORY=memory, HALOS=1):
        pipeline = Shuffled(
            job, source, Resources(EngineName.NUMPY, threads=1 + seed % 3), grain=format.grain
        )
    pipeline.plan, pipeline.seed = pipeline.plan.cut(job.stream, step), seed
    try:
        forms.check(pipeline.result, format)
    except UsageError:  # one row of numbers is not a picture
        assume(False)
    form = forms.form(pipeline.result, format)
    sink = registry.open_sink(made, format, form, WriteOptions())
    tally = pipeline.write([sink])
    expected, counted = in_parts(Pipeline(job, given, Resources(EngineName.NUMPY)), [whole(job.chain.output)])
    np.testing.assert_array_equal(pipeline.array(), expected)
    expected = expected.transpose([job.result.letters.index(letter) for letter in form.letters])
    file = io.BytesIO(made.getvalue())
    found = np.load(file) if name == "npy" else tifffile.imread(file).reshape(form.shape)
    np.testing.assert_array_equal(found, expected)
    assert (tally.clipped, tally.values, tally.nans) == (counted.clipped, counted.values, counted.nans)


@pytest.mark.parametrize(
    ("suffix", "how", "stride", "sizes"),
    [
        (".tiff", {}, 1, (6, 6)),  # two halos of three
        (".tiff", {"tile": (32, 64), "compression": "zlib"}, 1, (32, 64)),
        (".tiff", {"tile": (32, 64), "compression": "zlib"}, 2, (16, 32)),
        (".tiff", {"rowsperstrip": 20, "compression": "zlib"}, 1, (20, 250)),
        (".npy", {}, 1, (6, 6)),
        (".png", {}, 1, (150, 250)),
    ],
    ids=str,
)
def test_bricks_are_whole_pieces_of_what_is_read(
    suffix: str, how: dict[str, object], stride: int, sizes: tuple[int, int], tmp_path: Path
) -> None:
    path, stack = tmp_path / f"a{suffix}", np.zeros((4, 150, 250), np.uint8)
    if suffix == ".tiff":
        tifffile.imwrite(path, stack, photometric="minisblack", metadata=None, **how)
    elif suffix == ".npy":
        np.save(path, stack)
    else:
        frames = [Image.fromarray(page + 9 * n) for n, page in enumerate(stack)]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    source = Location(str(path), suffix[1:], ReadOptions(all_frames=True)).open()
    settings = Settings(stride=(1, stride, stride))
    job = draft(
        source.info, [load_kernel("box:3x3x3")], settings, channels=Channels.EACH, range=parse_range("float"),
        precision=Precision.AUTO, holds=("float32",), keeps_numbers=True,
    )  # fmt: skip
    with mock.patch("convcli.plan.choose.MOST_MEMORY", 1):
        any_box = Pipeline(job, source, Resources(EngineName.NUMPY))
        strips = Pipeline(job, source, Resources(EngineName.NUMPY), grain=STRIPS)
    source.close()
    assert any_box.plan.steps[1:] == sizes
    assert strips.plan.steps[1:] == job.chain.output[1:]


@pytest.mark.parametrize("engine", list(EngineName))
@pytest.mark.parametrize(("pool", "outside"), [("max", 0), ("min", 255), ("avg", 0)])
def test_windows_of_padding_alone_become_black_or_white(engine: str, pool: str, outside: int) -> None:
    array = np.array([[7, 200], [90, 31]], np.uint8)
    found = convcli.filter(array, pool=f"{pool}:1,s=1,p=1", range="clip", engine=engine)
    np.testing.assert_array_equal(found, np.pad(array, 1, constant_values=outside))


@pytest.mark.parametrize("step", [1, 3, 50])
def test_rows_wholly_in_padding_have_their_colour_and_no_coverage(step: int) -> None:
    """With a signed kernel alpha passes through; outside the data there is none."""
    random = np.random.default_rng(3)
    array = random.integers(0, 256, (5, 6, 4)).astype(np.uint8)
    source = ArraySource(array, "YXC")
    source.info = replace(source.info, colour=Colour.RGBA)
    kernel = Kernel("k", (1, 1, 3, 3), (1.0, -2.0, 0.0, 3.0, 1.0, 0.5, 0.0, -1.0, 2.0))
    how = Settings(padding=((20, 20),), pad_mode=PadMode.CONSTANT, pad_value=9.0)
    job = draft(
        source.info, [kernel], how, channels=Channels.EACH, range=parse_range("float"), precision=Precision.AUTO,
        holds=("float32",), keeps_numbers=True,
    )  # fmt: skip
    found = Pipeline(job, source, Resources(EngineName.NUMPY), step=step).array()
    padded = np.pad(array.astype(float), ((20, 20), (20, 20), (0, 0)), constant_values=9)
    colours = ndimage.correlate(padded, kernel.array()[0, 0][..., None])[1:-1, 1:-1, :3]
    np.testing.assert_allclose(found[..., :3], colours, rtol=1e-6)
    np.testing.assert_array_equal(found[..., 3], np.pad(array[..., 3], 19))


def elsewhere(job: Job, plan: Plan, opened: Callable[[], Source], boxes: list[Box]) -> list[bytes]:
    """Compute boxes in a process of its own, and return their bits."""
    source = opened()
    found = [compute(job, plan, source, box)[0].tobytes() for box in boxes]
    source.close()
    return found


@pytest.fixture(scope="module")
def another_process() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("suffix", ["", ".npy", ".tiff", ".png"])
def test_another_process_gives_the_same_bits(
    suffix: str, another_process: ProcessPoolExecutor, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(8).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, pixels)
    elif suffix:
        Image.fromarray(pixels).save(path)
    array = ArraySource(pixels, "YXC")
    place = Location(str(path), suffix[1:], ReadOptions(axes="YXC" if suffix == ".npy" else None))
    opened: Callable[[], Source] = place.open if suffix else partial(copy, array)
    source = opened()
    weights = (1.0, -2.0, 0.0, 3.0, 1.0, 0.5, 0.0, -1.0, 2.0)
    job = draft(
        source.info, [Kernel("k", (1, 1, 3, 3), weights)], Settings(), channels=Channels.EACH,
        range=parse_range("clip"), precision=Precision.AUTO, holds=("uint8",),
        keeps_numbers=False,
    )  # fmt: skip
    pipeline = Pipeline(job, source, Resources(EngineName.NUMPY, threads=1))
    boxes = list(partition(np.random.default_rng(3), whole(job.chain.output), 2))
    found = another_process.submit(elsewhere, job, pipeline.plan, opened, boxes).result()
    here = pipeline.array()
    source.close()
    assert found == [here[axes_of_result(job, box)].tobytes() for box in boxes]
    expected = ndimage.correlate(pixels.astype(float), np.reshape(weights, (3, 3, 1)), mode="nearest")
    np.testing.assert_array_equal(here, np.clip(np.rint(expected), 0, 255))


@pytest.mark.parametrize("engine", [EngineName.AUTO, EngineName.TORCH])
@pytest.mark.parametrize("kernel", ["box:9", "gaussian:sigma=3", "sobel-x", "motion"])
def test_partitions_keep_the_bound_of_every_algorithm(engine: EngineName, kernel: str) -> None:
    """Products and transforms group their sums by the box: their error in float32 is bounded, not their bits."""
    random = np.random.default_rng(4)
    array = random.integers(0, 256, (6, 70, 81)).astype(np.float32)
    bank = load_kernel(kernel)
    job = draft(
        ArraySource(array, "TYX").info, [bank], Settings(), channels=Channels.EACH, range=parse_range("float"),
        precision=Precision.AUTO, holds=("float32",), keeps_numbers=True,
    )  # fmt: skip
    pipeline = Pipeline(job, ArraySource(array, "TYX"), Resources(engine, threads=1))
    bound = max(algorithm.error for algorithm in pipeline.plan.algorithms if algorithm is not None)
    found, _ = in_parts(pipeline, list(partition(random, whole(job.chain.output), 4)))
    weights = bank.array("float64")[0, 0]
    if weights.ndim == 2:
        expected = ndimage.correlate(array.astype(float), weights[None], mode="nearest")
    else:
        expected = ndimage.correlate(array.astype(float), weights, mode="nearest", origin=(-1, 0, 0))[:-1]
    assert np.abs(found - expected).max() <= bound * np.abs(weights).sum() * 255
