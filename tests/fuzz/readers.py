"""Every reader as one function of bytes or of text: it returns, or it refuses with ConvError.

A row of `READERS` is a reader, how its cases are made, and how many `make fuzz` tries.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from random import Random
from typing import IO, Any

import numpy as np

from convcli.cli.net.request import parse_shifts
from convcli.cli.shared.files import File, is_label_table, labels
from convcli.cli.shared.layers import Traced, lines
from convcli.common.budget import Rule
from convcli.common.choices import EngineName
from convcli.common.errors import ConvError
from convcli.common.numbers import parse_number, parse_numbers, parse_rate
from convcli.data.info import Source
from convcli.detection.area import parse_area
from convcli.geometry.areas import parse_region
from convcli.geometry.grammar import parse_layers, parse_pool, parse_size
from convcli.geometry.graph import Shape, lint, trace
from convcli.geometry.padding import parse_pad_mode, parse_padding
from convcli.jobs.bind import Settings, bind
from convcli.kernel import load_kernel
from convcli.kernel.array_file import load_array
from convcli.kernel.model import check_size
from convcli.kernel.yaml_file import load_yaml
from convcli.learning import torch_training
from convcli.media import registry
from convcli.media.clips.numbered import NumberedSource, find
from convcli.media.files.target import Folder
from convcli.media.options import Header, ReadOptions, WriteOptions
from convcli.networks.parse import load_net
from convcli.networks.weights import load_all
from convcli.pixels.ranges import POLICIES, parse_range
from convcli.plan.choose import Resources, choose
from tests.fuzz import seeds
from tests.fuzz.commands import ran, try_line
from tests.fuzz.models import models, other_model
from tests.fuzz.mutate import reword, spoil
from tests.fuzz.python import as_random, try_call
from tests.fuzz.structure import other_value, png_with_checksums, restructured, zip_with_checksums

MOST = 4_000_000  # pixels and numbers that are read; of more, the first and the last block
COUNT = itertools.count()


def _opened(data: bytes, on_disk: bool) -> IO[bytes]:
    """Return an open file: a clip's goes to another program where FFmpeg's libraries do not know its coding."""
    if not on_disk:
        return io.BytesIO(data)
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(data)
    file.seek(0)
    return file


def _read(suffix: str, data: bytes, rng: Random, all_frames: bool | None = None) -> None:
    """Open a file as the command does, and read it in blocks."""
    name = f"a.{suffix}"
    table = suffix in ("csv", "tsv")
    options = ReadOptions(
        all_frames=rng.random() < 0.5 if all_frames is None else all_frames,
        max_pixels=MOST,
        matrix=table and rng.random() < 0.3,
        header=rng.choice(list(Header)) if table else Header.AUTO,
        axes=rng.choice((None, "YXC", "YX")) if suffix == "npy" else None,
        allow_truncated=rng.random() < 0.3,
    )
    if not data:
        raise ConvError("empty")
    format, _ = registry.identify(data[: registry.HEAD], name)
    with (
        _opened(data, format.film or format.arrays) as file,
        closing(registry.open_source(file, format, options)) as source,
    ):
        _read_blocks(source)


def _fits(data: bytes) -> None:
    """An image of the format that a package adds."""
    if (folder := str(Path(__file__).parents[2] / "packages/convcli-fits")) not in sys.path:
        sys.path.append(folder)
    own = importlib.import_module("convcli_fits")
    with closing(own.FitsSource(io.BytesIO(data), ReadOptions(max_pixels=MOST))) as source:
        _read_blocks(source)


def _read_blocks(source: Source) -> None:
    info, n = source.info, source.info.length
    few = prod(info.shape) <= MOST
    step = 13 if few else max(1, MOST * info.length // prod(info.shape))
    for start in range(0, n, step) if few else (0, n - 1):
        block = source.strip(start, min(start + step, n))
        axis = info.stream_axis
        expected = (*info.shape[:axis], min(step, n - start), *info.shape[axis + 1 :])
        if (block.shape, block.dtype.name) != (expected, info.dtype):
            raise AssertionError(f"{block.shape} {block.dtype}, promised {expected} {info.dtype}")


def _placed(data: bytes, rng: Random) -> None:
    """Read a map, and write it into a format that keeps its places, and one that tells them."""
    _read("tif", data, rng)
    format = registry.by_name("tiff")
    with closing(registry.open_source(io.BytesIO(data), format, ReadOptions())) as source:
        for name in ("tiff", "zarr", "csv"):
            registry.left_out(source.info, registry.by_name(name))
        registry.open_sink(io.BytesIO(), format, source.info, WriteOptions())


def _job(data: bytes, rng: Random, folder: Path) -> None:
    """The folder of a job, whose description and log are on both sides of a zero byte."""
    about, _, log = data.partition(b"\0")
    inside = folder / "b.npy.job"
    inside.mkdir(mode=0o700)
    try:
        for name, content in (("job.json", about), ("0001.log", log)):
            (inside / name).write_bytes(content)
        with contextlib.chdir(folder):
            ran(["job", "b.npy"])
            if rng.random() < 0.3:
                ran(["job", "b.npy", "--verify", "100%"])
    finally:
        shutil.rmtree(inside)


def _other_job(rng: Random) -> bytes:
    about, _, log = rng.choice(seeds.files("job")).partition(b"\0")
    if rng.random() < 0.6:
        return other_value(about, rng) + b"\0" + log
    lines = log.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at] = other_value(lines[at], rng)
    return about + b"\0" + b"\n".join(lines)


def _description(text: str) -> None:
    """The description of six pages; where they are read, it is written again too."""
    data = seeds.tiff(np.stack([seeds.DEEP] * 6), description=text.encode(errors="replace"), metadata=None)
    format = registry.by_name(".ome.tif")
    with closing(registry.open_source(io.BytesIO(data), format, ReadOptions(max_pixels=MOST))) as source:
        _read_blocks(source)
        registry.open_sink(io.BytesIO(), format, source.info, WriteOptions())


def _store(data: bytes, folder: Path) -> None:
    """A store, from an archive of its files; where it is read, it is written again too."""
    inside = folder / f"{next(COUNT)}.zarr"
    try:
        _unpacked(data, inside)
        format = registry.of_folder(inside)
        with closing(registry.open_source(Folder(inside), format, ReadOptions(max_pixels=MOST))) as source:
            _read_blocks(source)
            shutil.rmtree(inside)
            sink = registry.open_sink(Folder(inside), format, source.info, WriteOptions())
            first = tuple((0, 1) for _ in source.info.box)
            shape = [stop - start for start, stop in source.info.spans(first)]
            sink.write(first, np.ones(shape, source.info.dtype))
    finally:
        shutil.rmtree(inside, ignore_errors=True)


def _unpacked(data: bytes, inside: Path) -> None:
    try:
        inside.mkdir()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                place = inside / name
                if ".." not in place.parts and place.is_relative_to(inside):
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(archive.read(name))
    except Exception:
        raise ConvError("no archive of files") from None


def _spoiled_store(change: Callable[[bytes, Random], bytes], rng: Random) -> bytes:
    """Return an archive of a store of which one file is changed."""
    return zip_with_checksums(rng.choice(seeds.stores()), lambda one: change(one, rng), rng)


def _other(member: bytes, rng: Random) -> bytes:
    return other_value(member, rng) if member[:1] == b"{" else spoil([member or b"-"], rng)


def _numbered(data: bytes, folder: Path) -> None:
    """A spoiled picture between two whole ones, or before them."""
    inside = folder / f"{next(COUNT)}"
    inside.mkdir()
    try:
        whole = seeds.files("png")[0]
        for number, content in enumerate((data, whole) if len(data) % 2 else (whole, data, whole), 8):
            (inside / f"{number}.png").write_bytes(content)
        found = find(inside / "*.png" if len(data) % 3 else inside / "%d.png")
        assert found is not None
        _read_blocks(NumberedSource(found, ReadOptions(max_pixels=MOST)))
    finally:
        shutil.rmtree(inside)


def _saved(suffix: str, data: bytes, folder: Path) -> Path:
    path = folder / f"{next(COUNT)}.{suffix}"  # a new name, for nothing to be found in a cache
    path.write_bytes(data)
    return path


def _on_disk(suffix: str, reader: Callable[[Path], object]) -> Callable[[bytes, Path], None]:
    """Return a reader of a file's name as one of its content."""

    def read(data: bytes, folder: Path) -> None:
        path = _saved(suffix, data, folder)
        try:
            reader(path)
        finally:
            path.unlink()

    return read


def _weights(path: Path) -> None:
    load_array(f"{path}#a", check=partial(check_size, rule=Rule(each=8, growth=1, most=MOST)))


def _labels(path: Path) -> None:
    if is_label_table([str(path)]):
        labels(str(path), [File("a.png", "a", False), File("b.png", "b", True)])


def _kernel_file(path: Path) -> None:
    """Read a kernel, and bind it to a picture: what its own geometry asks for is refused, or soon known."""
    kernel = load_yaml(path)
    kernel.array("float32")
    if kernel.rank == 2:
        chain = bind([kernel], Settings(), "YX", (64, 64), kernel.inputs)
        choose(chain, 0, Resources(EngineName.NUMPY, threads=1)).check_memory()
        for stage, sizes in zip(chain.stages, chain.sizes[1:], strict=True):
            for window, n in zip(stage.windows, sizes, strict=True):
                stage.mode.support(*window.input_range(0, n), 64)


def _net_file(path: Path) -> None:
    net = load_net(path)
    net.trace(net.input or Shape(3, (32, 32)))


def _model(path: Path) -> None:
    """Show a model as `shape` does, and read its weights."""
    net = load_net(path)
    steps = net.trace(net.preprocess.output(net.input or Shape(3, (32, 32))))
    for line in lines(Traced("", [step.row for step in steps], lint(steps))):
        str(line)
    load_all(path)


def _shape(text: str) -> None:
    size, *layers = text.split() or [""]
    for row in trace(parse_layers(layers), *parse_size(size)):
        str(row.output)


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes
    ----------
    try_it
        Takes a case, a generator for what is not in the case, and a folder; raises ConvError to refuse.
    make
        Makes a case.
    cases
        How many `make fuzz` tries.
    rearrange
        Makes a case of a file whose headers' numbers and parts are changed one by one.
    tokens
        Of a text, for Hypothesis: it puts them together in its own ways.
    """

    name: str
    try_it: Callable[[Any, Random, Path], object]
    make: Callable[[Random], bytes | str]
    cases: int
    tokens: tuple[str, ...] = ()
    rearrange: Callable[[Random], bytes] | None = None


def _sound(data: bytes, rng: Random) -> bytes:
    """Return a spoiled file whose checksums, if it has any, are mostly right."""
    return png_with_checksums(data) if data[:4] == b"\x89PNG" and rng.random() < 0.9 else data


def _bytes(
    name: str, try_it: Callable[[bytes, Random, Path], object], cases: int, source: str = ""
) -> Reader:
    """Return a reader of binary files, those of the seeds called so or of another's."""

    def rearrange(rng: Random) -> bytes:
        seed = rng.choice(seeds.files(source or name))
        if seed[:2] == b"PK" and rng.random() < 0.7:
            return zip_with_checksums(seed, lambda member: spoil([member or b"-"], rng), rng)
        return _sound(restructured(seed, rng), rng)

    def make(rng: Random) -> bytes:
        return _sound(spoil(seeds.files(source or name), rng), rng)

    return Reader(name, try_it, make, cases, rearrange=rearrange)


def _file(name: str, cases: int, suffix: str = "", all_frames: bool | None = None) -> Reader:
    kind = suffix or name
    return _bytes(name, lambda case, rng, folder: _read(kind, case, rng, all_frames), cases)


def _archive(name: str, cases: int, reader: Callable[[Path], object] = _weights, suffix: str = "") -> Reader:
    read = _on_disk(suffix or name, reader)
    return _bytes(name, lambda case, rng, folder: read(case, folder), cases)


YAML = (
    ": ", "\n", "- ", "  ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "!!python/object:os.system ", "|\n", "'", '"',
    "#", "? ", "---\n", "1e999", "-1", "0", "1/0", "no", ".nan", "\t", "weights", "scale", "rank", "origin", "conv",
    "layers", "stride", "\x00", "é", "99999999999", "~", "%YAML 9.9\n", "a.npy", "padding: ", "dilation: ", "same",
    "20000", "999999", "parametric: ", "kernel: ", "gaussian:390", "box:2000x2000",
)  # fmt: skip
NUMBERS = (
    "0", "1", "-1", "3", "1/9", "1/0", ".5", "1e3", "1e999", "-1e-999", "nan", "inf", "+", "-", "/", "e", ".", "٣",
    "½", "1_0", "0x1", "9" * 30, " ", "",
)  # fmt: skip


def _document(name: str, try_it: Callable[[bytes, Path], None], cases: int) -> Reader:
    def make(rng: Random) -> bytes:
        if rng.random() < 0.5:
            return spoil(seeds.yamls(name), rng)
        texts = [data.decode() for data in seeds.yamls(name)]
        return reword(texts, YAML, rng).encode(errors="surrogatepass")

    return Reader(name, lambda case, rng, folder: try_it(case, folder), make, cases)


def _grammar(
    name: str, try_it: Callable[[str], object], texts: tuple[str, ...], words: tuple[str, ...], cases: int
) -> Reader:
    tokens = (*NUMBERS, *words)
    return Reader(
        name, lambda case, rng, folder: try_it(case), lambda rng: reword(texts, tokens, rng), cases, tokens
    )


def _padding(text: str) -> None:
    parse_padding(text)


def _options(text: str) -> None:
    """Whatever else stands behind an option: each text goes to all of them."""
    refusals = 0
    parsers = (
        lambda: parse_numbers(text, "stride"),
        lambda: parse_pad_mode(text),
        lambda: registry.by_name(text),
        lambda: parse_number(text),
        lambda: parse_rate(text),
        lambda: parse_area(text),
        lambda: parse_region(text),
        lambda: parse_shifts(text),
    )
    for parser in parsers:
        try:
            parser()
        except ConvError:
            refusals += 1
    if refusals == len(parsers):
        raise ConvError("none of them takes it")


READERS = (
    _file("png", 9000),
    _file("jpeg", 5000),
    _file("webp", 5000),
    _file("bmp", 5000),
    _file("gif", 5000),
    _file("apng", 5000, "png", True),
    _file("webp frames", 3000, "webp", True),
    _file("gif frames", 5000, "gif", True),
    _file("tiff pages", 5000, "tif", True),
    _file("tiff strips", 6000, "tif"),
    _file("tiff tiles", 3000, "tif"),
    _file("tiff compressed", 6000, "tif"),
    _grammar("tiff descriptions", _description, seeds.DESCRIPTIONS,
             ('="', '"/>', "<", ">", "</", "<TiffData ", "<Plane ", "Size", "TheT", "IFD", "&a;", "=", "\n", "µm",
              "C", "Z"), 3000),
    _file("avif frames", 500, "avif", True),
    replace(_bytes("maps", lambda case, rng, folder: _placed(case, rng), 3000), make=seeds.drawn_map),
    *(_file(suffix, 1000) for suffix in ("avif", "jxl", "jp2", "j2k", "ppm", "pgm", "pbm", "pfm", "pam")),
    *(_file(suffix, 1000) for suffix in ("tga", "dds", "dib", "ico", "qoi", "ome.tif", "nc")),
    _file("pcd", 200),
    _bytes("fits", lambda case, rng, folder: _fits(case), 3000),
    Reader(
        "command line",
        lambda case, rng, folder: try_line(as_random(case), folder),
        lambda rng: str(rng.random()),
        2000,
    ),
    Reader("python", lambda case, rng, folder: try_call(as_random(case)), lambda rng: str(rng.random()), 3000),
    *(_file(suffix, 600) for suffix in (*seeds.WRITTEN, *seeds.BY_HAND)),
    _bytes("numbered", lambda case, rng, folder: _numbered(case, folder), 2000, "png"),
    _file("npy", 5000),
    _archive("npz", 4000),
    _archive("safetensors", 4000),
    _archive("pth", 3000, load_all),
    _archive("checkpoint", 3000, torch_training.read_checkpoint, "safetensors"),
    replace(_bytes("job", lambda case, rng, folder: _job(case, rng, folder), 1000), rearrange=_other_job),
    _archive("labels", 1000, _labels, "csv"),
    Reader(
        "zarr",
        lambda case, rng, folder: _store(case, folder),
        partial(_spoiled_store, lambda one, rng: spoil([one or b"-"], rng)),
        2000,
        rearrange=partial(_spoiled_store, _other),
    ),
    replace(
        _archive("onnx", 4000, _model), rearrange=lambda rng: other_model(rng.choice(models()), rng)
    ),
    _file("nii", 4000),
    _file("nii.gz", 2000),
    _file("nrrd", 2000),
    _file("dcm", 4000),
    _file("mha", 2000),
    _file("h5", 1000),
    _file("csv", 6000),
    _file("tsv", 2000),
    _file("parquet", 300),
    _file("arrow", 300),
    *(_file(suffix, 1500) for suffix in seeds.CLIPS),
    *(_file(kind, 1500) for kind in (*seeds.SOUNDS, "m4a", "aac")),
    _document("kernel yaml", _on_disk("yaml", _kernel_file), 5000),
    _document("net yaml", _on_disk("yaml", _net_file), 4000),
    _grammar(
        "kernel text", load_kernel,
        ("1,0,-1;1,0,-1", "1/3,1/3,1/3", "gaussian:sigma=2", "box:3x5", "1,2|3,4", "hedge", "log:sigma=1,radius=2"),
        (",", ";", "|", ":", "=", "x", "box", "gaussian", "sigma", "binomial", "dog:", "motion-blur:", "\n", "\x00"),
        3000,
    ),
    _grammar(
        "shape grammar", _shape,
        ("3@32x32 conv:6@5x5 pool:max:2", "8x8 conv:3,s=2,p=1:0 gpool:avg", "4@8 tconv:3,s=2,op=1 pool:avg:2,ceil",
         "9x9x9 conv:2@3,d=2,same"),
        ("@", "x", ",", ":", " ", "s=", "p=", "d=", "op=", "same", "full", "ceil", "conv:", "tconv:", "pool:",
         "gpool:", "max:", "include"),
        3000,
    ),
    _grammar("pool grammar", parse_pool, ("max:2", "avg:3,s=2", "min:2x3,ceil,p=1", "global-max", "avg:2,include"),
             (",", ":", "=", "s=", "p=", "d=", "ceil", "include", "global-", "x"), 3000),
    _grammar("range grammar", parse_range, (*(policy.example for policy in POLICIES), "-10:1e1"),
             (":", "%", "offset", "clip", "percentile"), 3000),
    _grammar("padding grammar", _padding, ("same", "1:0,2:2", "valid", "3x1", "same-upper"),
             (",", "x", ":", "same", "full", "-lower"), 3000),
    _grammar("other options", _options, ("2,1", "reflect", "png", "1/9", ".tif", "30/1.001", "0.1%", "1,2,3,4", "1-3"),
             (",", "x", "constant", ".", "%", "-"), 3000),
)  # fmt: skip
