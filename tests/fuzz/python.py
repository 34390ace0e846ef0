"""Calls of the Python functions with arrays and options of every kind: a result, or a ConvError.

A generator draws the whole call; Hypothesis gives one of its own, which it makes small.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np

import convcli
from convcli.pixels.ranges import ROUNDED

DTYPES = (
    *(
        "?",
        "i1",
        "u1",
        "<i2",
        ">i2",
        "u2",
        "i4",
        ">u4",
        "i8",
        "u8",
        "f2",
        ">f4",
        "f4",
        "f8",
        ">f8",
        "longdouble",
    ),
    *("c8", "c16", "O", "S3", "U2", "M8[s]", "m8[ns]", "V5", "i4,f8"),
)
SIZES = (0, 1, 1, 2, 3, 4, 5, 7, 9)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 10**30, -(10**30), 0.5, -0.0, 1e300, float("nan"), float("inf"), 1j),
    *(
        "",
        " ",
        "a",
        "é",
        "\0",
        "٣",
        "1,2",
        "same",
        "2x1",
        b"1",
        (),
        [],
        {},
        set(),
        [[]],
        [None],
        [1, "a"],
        (1, 2),
    ),
    *(
        (1, 2, 3, 4, 5),
        [[1, 2], [3]],
        (0, -1),
        [float("nan")],
        range(3),
        object(),
        int,
        len,
        Ellipsis,
        slice(3),
    ),
    *(
        Fraction(1, 3),
        np.int8(3),
        np.float32(2.5),
        np.nan,
        np.datetime64("NaT"),
        np.str_("same"),
        np.array(2),
    ),
    *(
        np.array([1, 2]),
        np.zeros((0, 3)),
        np.ma.masked,
        iter([1, 2]),
        {"a": 1},
        bytearray(b"ab"),
        memoryview(b"ab"),
    ),
)
USUAL: dict[str, tuple[Any, ...]] = {
    "stride": (1, 2, (2, 1), "2x1"),
    "padding": ("valid", "full", "same", "tail", "same-lower", 1, (1, (0, 2)), "1:2"),
    "pad_mode": ("zero", "constant", "replicate", "reflect", "symmetric", "circular", "antireflect"),
    "pad_value": (0, 1.5, -3, float("nan")),
    "dilation": (1, 2, (1, 2), "2x1"),
    "bias": (0, 1.5, [1, 2]),
    "flip": (True, False),
    "transpose": (True, False),
    "output_padding": (0, 1, "1x0"),
    "pool": ("max:2", "avg:3,s=2", "median:3", "global-max", "min:2,ceil"),
    "range": ("float", "clip", "abs", "offset", "offset:2", "minmax", "-1:9", "0%:50%"),
    "channels": ("each", "luma", "grey", "sum"),
    "axis": ("x", "y", "z", "t", "yx", "c"),
    "axes": ("X", "YX", "YX", "YX", "YXC", "CYX", "ZYX", "TYX", "NYX", "TYXC", "ZYXC", "TZYX"),
    "missing": ("propagate", "skip", "keep", "error"),
    "spacing": ("1m", "3mm", ("3mm", "1mm"), ("1s",), "0mm"),
    "min_weight": (0, 0.5, 1),
    "interpolate": (True, False),
    "dtype": ("auto", "float32", "float64"),
    "engine": ("auto", "numpy"),
    "device": ("cpu",),
    "threads": (1, 2),
}
MOTION: dict[str, tuple[Any, ...]] = {
    "picture": (True, False),
    "threshold": ("auto", 3, 20.5),
    "min_area": (1, "0.1%"),
    "min_duration": (0, 0.1),
    "merge_gap": (0, 0.25),
    "region": ((0, 0, 3, 3), [(0, 0), (3, 0), (3, 3)], "0,0,2,2", np.eye(4, 5) > 0),
    "ignore": ((0, 0, 3, 3), [(0, 0), (3, 0), (3, 3)], "1,1 2,2 0,3"),
    "stride": ((1, 2, 2), (2, 1, 1)),
    "denoise": (1, 3),
    "stabilise_light": (True, False),
    "axes": ("TYX", "TYXC", "CTYX"),
    "fps": (25, "30000/1001"),
    "raw_times": (True, False),
}
KERNELS = (
    *(
        "hedge",
        "sobel",
        "box:3",
        "box:4",
        "gaussian:sigma=2",
        "1,2,-1",
        "1,2;3,4",
        "identity",
        "motion",
        "xkin",
    ),
    *(
        "smooth3",
        "box:2x3x2",
        "log:sigma=1",
        "gaussian:sigma=2mm",
        "box:",
        "1,2|3,4",
        "stft:3,hop=1",
        "",
        "none",
    ),
)


def array(rng: Random) -> Any:
    """Return an array of any type, shape, order, strides and permission, or a mask or subclass of one."""
    sizes = SIZES if rng.random() < 0.3 else SIZES[-4:]
    shape = tuple(
        rng.choice(sizes) for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 4, 5)))
    )
    dtype = np.dtype(rng.choice(DTYPES if rng.random() < 0.2 else DTYPES[:16]))
    count = int(np.prod(shape, dtype=np.int64))
    if dtype.kind in "OSUV":
        values = np.zeros(count, dtype)
        if dtype.kind == "O":
            values[:] = [rng.choice((1, 2.5, None, "a", 10**30, Fraction(1, 3))) for _ in range(count)]
    elif rng.random() < 0.5:
        edge: list[Any] = [0, 1, -1]
        if dtype.kind in "iu":
            edge = [np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1]
        elif dtype.kind == "f":
            edge = [np.nan, np.inf, -np.inf, np.finfo(dtype).max, np.finfo(dtype).tiny, 0.5]
        values = np.array([rng.choice(edge) for _ in range(count)], dtype if dtype.kind in "iuf" else "i8")
        values = values.astype(dtype)
    else:
        values = np.array([rng.randrange(100) for _ in range(count)], "i8").astype(dtype)
    found = values.reshape(shape, order=rng.choice("CF"))
    match rng.randrange(20):
        case 0 if found.ndim:
            found = found[(slice(None, None, -1),) * found.ndim]
        case 1 if found.ndim:
            found = np.repeat(found, 2, -1)[..., ::2]
        case 2:
            found = np.broadcast_to(found, (3, *shape))
        case 3:
            found.flags.writeable = False
        case 4 if dtype.kind in "iuf":
            return np.ma.array(found, mask=np.arange(count).reshape(shape) % 3 == 0)
        case 5 if dtype.kind in "iuf":
            return found.tolist()
        case 6 if found.ndim == 2 and dtype.kind in "iuf":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return np.asmatrix(found)
        case 7 | 8 if dtype.kind in "iufb" and dtype.itemsize <= 8:
            return _foreign(rng, found)
    return found


def _foreign(rng: Random, found: np.ndarray) -> Any:
    """Return an object of another library, or one that lies about itself."""
    match rng.randrange(6):
        case 0:
            import torch

            plain = found.astype(found.dtype.newbyteorder("="))
            tensor = torch.from_numpy(plain.copy())
            return rng.choice(
                (
                    tensor,
                    tensor.flatten(),
                    tensor.expand(2, *tensor.shape),
                    torch.eye(4).to_sparse(),
                    tensor.to("meta"),
                )
            )
        case 1 if found.ndim == 2 and found.size and found.dtype == np.uint8:
            from PIL import Image

            return Image.fromarray(found)
        case 2:
            import xarray

            edges = (0.5, 1, 2, float("nan"), float("inf"), 1e308, 5e-324)
            dims = ("y", "x", "t", "z", "c")[: found.ndim]
            return xarray.DataArray(
                found,
                [
                    (name, [rng.choice(edges) for _ in range(n)])
                    for name, n in zip(dims, found.shape, strict=True)
                ],
            )
        case 3:
            return Lying(found, {"shape": tuple(3 * size for size in found.shape)})
        case 4:
            return Lying(found, {"typestr": "|V3"})
        case 5 if found.ndim:
            return np.lib.stride_tricks.as_strided(found, (0, *found.shape[1:]))
    return found.view(Sub)


class Sub(np.ndarray):
    """A subclass whose functions are its own."""

    def __array_function__(self, *_: Any, **__: Any) -> Any:
        raise ValueError("not with me")

    def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
        raise ValueError("not with me")


class Lying:
    """An array interface that says something else than there is."""

    def __init__(self, held: np.ndarray, said: dict[str, Any]) -> None:
        self._held, self._said = held.copy(), said

    @property
    def __array_interface__(self) -> dict[str, Any]:
        data = self._held.tobytes()  # bounded: numpy holds it against the shape
        return self._held.__array_interface__ | {"data": data, "strides": None} | self._said


def kernel(rng: Random) -> Any:
    """Return a kernel's name or text, weights, or a list of them, or anything."""
    match rng.randrange(8):
        case 0 | 1 | 2 | 3:
            return rng.choice(KERNELS if rng.random() < 0.3 else KERNELS[:8])
        case 4:
            return [rng.choice(KERNELS[:8]) for _ in range(rng.randrange(3))]
        case 5:
            return rng.choice(ODD)
        case 6:
            return [[rng.randrange(-3, 4) for _ in range(3)] for _ in range(rng.choice((1, 2, 3)))]
    return array(rng)


def options(rng: Random, usual: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Return some options of their usual values, one of them perhaps anything."""
    names = [name for name in usual if rng.random() < 0.06]
    found = {name: rng.choice(usual[name]) for name in names}
    if rng.random() < 0.3:
        found[rng.choice([name for name in usual if name != "device"])] = rng.choice(ODD)  # others load torch
    if usual is USUAL and rng.random() < 0.1:
        found["mask"] = array(rng) if rng.random() < 0.8 else rng.choice(ODD)
    return found


def call(rng: Random) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return a function and what it is called with."""
    match rng.randrange(10):
        case 0:
            words = (
                "3@32x32",
                "conv:3",
                "pool:max:2",
                "conv:6@5,s=2",
                "8",
                "",
                "@",
                "conv:",
                "9x9x9",
                "tconv:2",
            )
            return (
                convcli.shape,
                tuple(rng.choice(words if rng.random() < 0.8 else ODD) for _ in range(3)),
                {},
            )
        case 1:
            return (
                convcli.load_kernel,
                (kernel(rng), rng.choice((1, 2, 3, *ODD)))[: rng.choice((1, 1, 2))],
                {},
            )
        case 2:
            return convcli.Kernel.from_array, (array(rng) if rng.random() < 0.7 else rng.choice(ODD),), {}
        case 3:
            clip = np.random.default_rng(rng.randrange(99)).integers(0, 255, (4, 6, 7), np.uint8)
            given = clip if rng.random() < 0.5 else array(rng)
            return convcli.motion, (given, kernel(rng))[: rng.choice((1, 2))], options(rng, MOTION)
    data = array(rng) if rng.random() < 0.95 else rng.choice(ODD)
    return convcli.filter, (data, kernel(rng))[: rng.choice((1, 2, 2, 2, 2, 2))], options(rng, USUAL)


def as_random(case: str | Random) -> Random:
    """Return the generator of a case: its own, or one that the text seeds."""
    return Random(case) if isinstance(case, str) else case


def try_call(rng: Random) -> None:
    """Make a call; its own warnings, that integers are rounded and of a clip's scale, are results too.

    Raises
    ------
    ConvError
        That the function refuses what is given.
    """
    function, given, named = call(rng)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", ROUNDED.replace("^", r"\^"))
            warnings.filterwarnings("ignore", "the samples reach")
            function(*given, **named)
    except convcli.ConvError:
        raise
    except BaseException as error:
        error.add_note(f"{function.__qualname__}: {given!r} {named!r}"[:900])
        raise
