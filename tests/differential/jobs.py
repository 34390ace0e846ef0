"""A job for every number: data of some kind, a kernel, and options; the same number makes the same job."""

from __future__ import annotations

import csv
import io
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random

import av
import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from tests import clips, pad_modes
from tests.differential.oracle import Amount, Geometry, outputs
from tests.pictures import chunk

SEED = 6


@dataclass(frozen=True)
class Kind:
    """A kind of input: its letters, type, suffix, and the axes that its data can have."""

    name: str
    suffix: str
    dtype: str
    axes: str
    numbers: bool = False  # whether floats are the output's default
    alpha: bool = False  # whether the last channel is alpha
    moving: bool = False  # whether it is an animation, of which all frames are wanted

    @property
    def letters(self) -> str:
        return self.axes.replace("C", "")


KINDS = (
    Kind("PNG grey, 8 bits", ".png", "uint8", "YX"),
    Kind("PNG colour, 8 bits", ".png", "uint8", "YXC"),
    Kind("PNG grey, 16 bits", ".png", "uint16", "YX"),
    Kind("PNG colour, 16 bits", ".png", "uint16", "YXC"),
    Kind("BMP colour", ".bmp", "uint8", "YXC"),
    Kind("TIFF colour, 8 bits", ".tif", "uint8", "YXC"),
    Kind("TIFF grey, 16 bits", ".tif", "uint16", "YX"),
    Kind("TIFF grey, float32", ".tif", "float32", "YX", True),
    Kind("NumPy 1-D, int16", ".npy", "int16", "X", True),
    Kind("NumPy 2-D, uint8", ".npy", "uint8", "YX", True),
    Kind("NumPy CYX, float32", ".npy", "float32", "CYX", True),
    Kind("NumPy 3-D, float32", ".npy", "float32", "ZYX", True),
    Kind("NumPy TYXC, uint8", ".npy", "uint8", "TYXC", True),
    Kind("NumPy 2-D, float64", ".npy", "float64", "YX", True),
    Kind("CSV columns", ".csv", "float64", "XC", True),
    Kind("CSV as matrix", ".csv", "float64", "YX", True),
    Kind("PNG with alpha, 8 bits", ".png", "uint8", "YXC", alpha=True),
    Kind("PNG with alpha, 16 bits", ".png", "uint16", "YXC", alpha=True),
    Kind("TIFF with alpha, 8 bits", ".tif", "uint8", "YXC", alpha=True),
    Kind("TIFF pages, 16 bits", ".tif", "uint16", "ZYX"),
    Kind("APNG", ".png", "uint8", "TYXC", alpha=True, moving=True),
    Kind("GIF frames", ".gif", "uint8", "TYXC", alpha=True, moving=True),
    Kind("Clip, FFV1, grey", ".mkv", "uint8", "TYX"),
    Kind("Clip, FFV1, RGB", ".mkv", "uint8", "TYXC"),
    Kind("Clip, Y4M, grey", ".y4m", "uint8", "TYX"),
)


@dataclass(frozen=True, eq=False)
class Job:
    """One command line, and all that it means."""

    number: int
    kind: Kind
    data: np.ndarray
    bank: np.ndarray  # (outputs, inputs, *kernel)
    kernel_text: str | None  # None: the bank is a file
    geometry: Geometry
    flip: bool
    bias: float
    policy: str | None
    engine: str
    arguments: tuple[str, ...]
    out_suffix: str
    second: tuple[np.ndarray, str] | None = None  # another kernel, applied after the first
    outliers: bool = False  # whether the data hold values far larger than the rest

    @property
    def floats(self) -> bool:
        return self.effective_policy == "float"

    @property
    def measured(self) -> bool:
        """Whether black and white are measured, with the error of results."""
        return self.effective_policy.startswith(("minmax", "percentile"))

    @property
    def effective_policy(self) -> str:
        if self.policy is not None:
            return self.policy
        if self.kind.numbers or self.out_suffix == ".npy":
            return "float"
        return "clip" if self.bank.sum() else "offset"


def job(number: int) -> Job:
    """Return the job of a number."""
    rng = Random(f"{SEED}/{number}")
    kind = rng.choice(KINDS)
    while True:
        made = _try(rng, kind, number)
        if made is not None:
            return made


def _try(rng: Random, kind: Kind, number: int) -> Job | None:
    special = rng.choice(("", "", "", "transposed", "two kernels", "outliers"))
    if special == "outliers":
        if kind.dtype not in ("float32", "float64") or kind.axes == "XC":
            return None
    elif (special == "transposed" and (kind.alpha or "T" in kind.axes)) or (
        special == "two kernels" and kind.alpha
    ):
        return None
    data = _uneven(rng, kind) if special == "outliers" else _data(rng, kind)
    channels = data.shape[kind.axes.index("C")] if "C" in kind.axes else 1
    rank = rng.randint(1, min(3, len(kind.letters)))
    if "T" in kind.letters or special == "outliers":
        rank = min(rank, 2)
    bank, text = _kernel(rng, rank, channels, len(kind.letters))
    if special == "outliers":
        bank, text = _large(rng, rank), None
    second = None
    if special == "two kernels":
        following = _kernel(rng, rank, channels, len(kind.letters))
        second = (following[0], following[1]) if following[1] is not None else None
    if (kind.alpha or special == "two kernels") and (text is None or (special and second is None)):
        return None
    if special == "transposed":
        geometry, words = _transposed(rng, rank)
    else:
        geometry, words = _geometry(rng, rank, kind)
    flip = rng.random() < 0.3
    sizes = dict(zip(kind.axes, data.shape, strict=True))
    lengths = tuple(sizes[letter] for letter in kind.letters[-rank:])
    for one in (bank,) if second is None else (bank, second[0]):
        found = outputs(lengths, one.shape[2:], geometry, flip)
        if found is None:
            return None  # the kernel is larger: refused, and tested elsewhere
        lengths = found
    if kind.suffix == ".mkv" and min(lengths) < 8:
        return None  # FFV1 takes no frames of a few pixels
    if "Z" in kind.axes and kind.suffix == ".tif" and min(sizes.values()) < 2:
        return None  # a page of one row is no page
    bias = 0.0 if special else rng.choice((0.0, 0.0, 0.0, 2.5, -7.25))
    several = bank.shape[0] > 1 or bank.shape[1] > 1
    out_suffix = ".npy" if several or kind.suffix == ".gif" else kind.suffix
    policy = _policy(rng, kind, out_suffix, bank, bias, geometry, bool(special))
    if policy == "refuse":
        return None
    engine = rng.choice(("numpy", "torch"))
    words += ["--engine", engine, "--threads", str(rng.randint(1, 2))]
    words += ["--flip"] * flip
    words += ["--bias", repr(bias)] * bool(bias)
    words += ["--range", policy] if policy else []
    words += ["--axes", kind.axes] * (kind.suffix == ".npy")
    words += ["--as", "matrix"] * (kind.name == "CSV as matrix")
    words += ["--frames", "all"] * kind.moving
    return Job(
        *(number, kind, data, bank, text, geometry, flip, bias, policy, engine, tuple(words), out_suffix),
        *(second, special == "outliers"),
    )


def _uneven(rng: Random, kind: Kind) -> np.ndarray:
    """Return data with fills, patches and spikes far larger than the rest, which is small or middling."""
    numbers = np.random.default_rng(rng.randrange(1 << 30))
    sizes = {"C": 3, "Z": 2} | {letter: rng.randint(60, 140) for letter in "YX"}
    data = numbers.normal(rng.choice((0, 0, 100)), 1, tuple(sizes[letter] for letter in kind.axes))
    data *= rng.choice((1e-3, 1.0, 1.0))
    fill = rng.choice((-9999.0, 1e20, -1e30, 1e6))
    for _ in range(rng.randint(1, 3)):
        y, x = rng.randrange(sizes["Y"]), rng.randrange(sizes["X"])
        data[..., y : y + rng.randint(1, 9), x : x + rng.randint(1, 9)] = fill
    return data.astype(kind.dtype)


def _large(rng: Random, rank: int) -> np.ndarray:
    """Return a kernel for which transforms are the cheapest, smooth or of any weights."""
    sizes = tuple(rng.randint(7, 25) for _ in range(rank))
    numbers = np.random.default_rng(rng.randrange(1 << 30))
    weights = numbers.random(sizes) if rng.random() < 0.5 else numbers.normal(0, 1, sizes)
    return np.round(weights / np.abs(weights).sum(), 6)[None, None]


def _transposed(rng: Random, rank: int) -> tuple[Geometry, list[str]]:
    """Return the geometry of a transposed convolution: padding crops, and the end may be longer."""
    stride = tuple(rng.randint(1, 3) for _ in range(rank))
    dilation = tuple(rng.randint(1, 2) for _ in range(rank))
    padding = tuple((rng.randint(0, 2), rng.randint(0, 2)) for _ in range(rank))
    extra = tuple(rng.randint(0, step - 1) for step in stride)
    words = [
        "--transpose",
        "--stride",
        ",".join(map(str, stride)),
        "--dilation",
        ",".join(map(str, dilation)),
    ]
    words += ["--padding", ",".join(_padding_text(one) for one in padding)]
    words += ["--output-padding", ",".join(map(str, extra))]
    return Geometry(stride, dilation, padding, "zero", extra=extra), words


def _data(rng: Random, kind: Kind) -> np.ndarray:
    numbers = np.random.default_rng(rng.randrange(1 << 30))
    sizes = {"C": 3 + kind.alpha, "T": rng.randint(2, 4), "Z": rng.randint(2, 6)}
    sizes |= {letter: rng.choice((1, 2, 3, 5, 8, 13, 20, 31)) for letter in "YX"}
    shape = tuple(sizes[letter] for letter in kind.axes)
    if kind.suffix == ".csv":
        shape = (max(shape[0], 4), *shape[1:])
        values = np.round(numbers.normal(0, 50, shape), 3)
        values[1, ..., 0] = values[0, ..., 0] - 1  # or it might be taken for the time
        return values
    if np.dtype(kind.dtype).kind == "f":
        return numbers.normal(0, 10, shape).astype(kind.dtype)
    limits = np.iinfo(kind.dtype)
    if kind.suffix == ".gif":  # a palette, of which the first colour is transparent and in every frame
        palette = numbers.integers(0, 256, (9, 4), np.uint8)
        palette[:, 3] = [0] + [255] * 8
        indices = numbers.integers(0, 9, shape[:-1])
        indices[:, 0, 0] = 0
        return palette[indices]
    data = numbers.integers(limits.min, limits.max, shape, kind.dtype, endpoint=True)
    if kind.alpha:
        whole = numbers.random(shape[:-1])
        data[..., 3] = np.where(whole < 0.3, 0, np.where(whole < 0.6, limits.max, data[..., 3]))
    return data


def _kernel(rng: Random, rank: int, channels: int, axes: int) -> tuple[np.ndarray, str | None]:
    """Return a bank, and its text where it is one kernel of one input."""
    sizes = tuple(rng.choice((1, 2, 3, 3, 4, 5)) for _ in range(rank))
    way = rng.random()
    if way < 0.1 and rank == min(axes, 2):  # the rank that names without one have
        sigma = rng.choice((0.5, 0.75, 1.0))
        radius = round(4 * sigma)
        curve = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
        curve /= curve.sum()
        each = f"{sigma}" if axes < 3 else f"{sigma}x{sigma}"  # of volumes a lone one is 3-D
        return (curve if rank == 1 else np.outer(curve, curve))[None, None], f"gaussian:sigma={each}"
    if way < 0.25 and (rank > 1 or axes == 1):
        return np.full((1, 1, *sizes), 1 / np.prod(sizes)), f"box:{'x'.join(map(str, sizes))}"
    if way < 0.45 and rank > 1:
        inputs = channels if way < 0.35 else 1
        shape = (rng.choice((2, 4) if inputs == 1 else (1, 2, 3)), inputs, *sizes)
        return np.round(np.random.default_rng(rng.randrange(1 << 30)).normal(0, 1, shape), 2), None
    if rank > 1:
        sizes = (max(sizes[0], 2), *sizes[1:])  # one row is a kernel of one axis
    smooth = [Fraction(n, 9) for n in range(4)]
    signed = [Fraction(n, d) for n in range(-4, 5) for d in (1, 2, 4)]
    weights = [rng.choice(signed if way < 0.8 else smooth) for _ in range(int(np.prod(sizes)))]
    if not any(weights):
        weights[0] = Fraction(1)
    array = np.array([float(weight) for weight in weights]).reshape(sizes)
    return array[None, None], _text(weights, sizes)


def _text(weights: list[Fraction], sizes: tuple[int, ...]) -> str:
    if len(sizes) == 1:
        return ",".join(map(str, weights))
    step = len(weights) // sizes[0]
    parts = [_text(weights[at : at + step], sizes[1:]) for at in range(0, len(weights), step)]
    return (";" if len(sizes) == 2 else "|").join(parts)


def _geometry(rng: Random, rank: int, kind: Kind) -> tuple[Geometry, list[str]]:
    """Return the geometry, and the words that say it."""
    words: list[str] = []
    stride = dilation = (1,) * rank
    if rng.random() < 0.4:
        stride = tuple(rng.randint(1, 3) for _ in range(rank))
        words += ["--stride", ",".join(map(str, stride))]
    if rng.random() < 0.3:
        dilation = tuple(rng.randint(1, 2) for _ in range(rank))
        words += ["--dilation", ",".join(map(str, dilation))]
    padding: tuple[Amount, ...] = ("same",) * rank
    mode, value = "replicate", 0.0
    if rng.random() < 0.7:
        mode = "zero"
        padding = tuple(_amount(rng) for _ in range(rank))
        words += ["--padding", ",".join(_padding_text(one) for one in padding)]
    if rng.random() < 0.7:
        mode = rng.choice(list(pad_modes.NUMPY))
        words += ["--pad-mode", mode]
        if mode == "constant":
            value = rng.choice((0.0, 3.5, 100.0))
            words += ["--pad-value", repr(value)]
    return Geometry(stride, dilation, padding, mode, value), words


def _amount(rng: Random) -> Amount:
    names = ("valid", "same", "full", "same-upper", "same-lower", "tail")
    return rng.choice((*names, (rng.randint(0, 3),) * 2, (rng.randint(0, 3), rng.randint(0, 3))))


def _padding_text(padding: Amount) -> str:
    return padding if isinstance(padding, str) else f"{padding[0]}:{padding[1]}"


def _policy(
    rng: Random, kind: Kind, out_suffix: str, bank: np.ndarray, bias: float, geometry: Geometry, special: bool
) -> str | None:
    """Return a range policy that this job can have, None for its default, or ``refuse`` where there is none."""
    if kind.dtype not in ("uint8", "uint16"):
        return None
    if special or kind.alpha or "T" in kind.axes:  # whose default, offset and measure are tested elsewhere
        return rng.choice(("clip", "abs", "-10:1e2", "-50%:150%"))
    # The definition of offset speaks of pixels, not of these.
    plain = not bias and not geometry.value and geometry.mode not in pad_modes.BEYOND
    own = kind.numbers or out_suffix == ".npy" or bool(bank.sum()) or plain
    choices = ["clip", "abs", "-10:1e2", "-50%:150%", "minmax", "percentile:5:90"]
    choices += [None, None] * own + ["offset", "offset:2"] * plain
    return rng.choice(choices)


def write(job: Job, folder: Path) -> Path:
    """Write a job's input by other hands than ours; a bank goes beside it."""
    path = folder / f"in{job.kind.suffix}"
    match job.kind.suffix:
        case ".png" if job.kind.moving:
            path.write_bytes(_apng(job.data))
        case ".png" if job.kind.dtype == "uint16":
            path.write_bytes(imagecodecs.png_encode(job.data))
        case ".gif":
            _write_gif(path, job.data)
        case ".mkv":
            clips.make(path, job.data, codec="ffv1", pixels="bgr0" if job.data.ndim == 4 else "gray")
        case ".y4m":
            height, width = job.data.shape[1:]
            head = f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 Cmono XCOLORRANGE=FULL\n".encode()
            path.write_bytes(head + b"".join(b"FRAME\n" + frame.tobytes() for frame in job.data))
        case ".png" | ".bmp":
            Image.fromarray(job.data).save(path)
        case ".tif":
            photometric = "rgb" if "C" in job.kind.axes else "minisblack"
            extra = {"extrasamples": ["unassalpha"]} if job.kind.alpha else {}
            tifffile.imwrite(path, job.data, photometric=photometric, **extra)
        case ".npy":
            np.save(path, job.data)
        case _:
            with path.open("w", newline="") as file:
                names = [["a", "b", "c"][: job.data.shape[1]]] if job.kind.axes == "XC" else []
                csv.writer(file).writerows([*names, *job.data.tolist()])
    if job.kernel_text is None:
        np.save(folder / "bank.npy", job.bank[0, 0] if job.bank.shape[:2] == (1, 1) else job.bank)
    return path


def _apng(frames: np.ndarray) -> bytes:
    """Return an animation of whole frames, each of which replaces the one before."""
    parts, number = [], 0
    for index, frame in enumerate(frames):
        data = imagecodecs.png_encode(frame)
        at = data.index(b"IDAT") - 4
        size = int.from_bytes(data[at : at + 4], "big")
        pixels = data[at + 8 : at + 8 + size]
        assert data[at + 12 + size + 4 :][:4] == b"IEND"
        control = struct.pack(">5I", number, frame.shape[1], frame.shape[0], 0, 0) + struct.pack(
            ">HHBB", 1, 25, 0, 0
        )
        if not index:
            parts += [data[:at], chunk(b"acTL", struct.pack(">II", len(frames), 0))]
        parts.append(chunk(b"fcTL", control))
        parts.append(
            chunk(b"fdAT", struct.pack(">I", number + 1) + pixels) if index else chunk(b"IDAT", pixels)
        )
        number += 2 if index else 1
    return b"".join((*parts, chunk(b"IEND", b"")))


def _write_gif(path: Path, data: np.ndarray) -> None:
    """Write whole frames of few colours, coded by Pillow one by one; FFmpeg must decode them to what they are."""
    colours, indices = np.unique(data.reshape(-1, 4), axis=0, return_inverse=True)
    clear = int(np.argmin(colours[:, 3]))
    parts = []
    for index in indices.reshape(data.shape[:-1]).astype(np.uint8):
        image, file = Image.fromarray(index, "P"), io.BytesIO()
        image.putpalette(colours[:, :3].tobytes())
        image.save(file, "GIF", optimize=False)
        single = file.getvalue()
        start = 13 + (6 << (single[10] & 7))
        start = single.index(b"\x2c\0\0\0\0", start)
        parts += [single[: 13 + (6 << (single[10] & 7))]] * (not parts)
        parts.append(b"\x21\xf9\4" + bytes([2 << 2 | 1, 4, 0, clear, 0]) + single[start:-1])
    path.write_bytes(b"".join((*parts, b";")))
    seen = _decoded(path, "rgba")
    visible = data[..., 3:] > 0
    assert np.array_equal(seen * visible, data * visible)


def _decoded(path: Path, form: str) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format=form) for frame in container.decode(video=0)])


def read(path: Path, kind: Kind) -> np.ndarray:
    """Read an output by other hands than ours."""
    match path.suffix:
        case ".png" if kind.moving:
            return _decoded(path, "rgba")
        case ".mkv" | ".y4m":
            return _decoded(path, "gray" if kind.axes == "TYX" else "rgb24")
        case ".png" if kind.dtype == "uint16":
            return imagecodecs.png_decode(path.read_bytes())
        case ".png" | ".bmp":
            with Image.open(path) as image:
                return np.asarray(image)
        case ".tif" if "Z" in kind.axes:
            with tifffile.TiffFile(path) as file:
                return np.stack([page.asarray() for page in file.pages])
        case ".tif":
            return tifffile.imread(path)
        case ".npy":
            return np.load(path)
    with io.StringIO(path.read_text()) as file:
        rows = list(csv.reader(file))
    return np.array([[float(cell) for cell in row] for row in (rows[1:] if kind.axes == "XC" else rows)])
