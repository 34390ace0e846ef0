"""What a hostile file can make long is read in time that grows with its size: four times as much, four times as long.

Processor time in this process, for the start of Python would hide it; twice as much is allowed for noise.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from convcli.cli.program import run
from convcli.geometry.grammar import parse_layers
from convcli.geometry.graph import trace
from convcli.kernel import load_kernel
from convcli.kernel.analysis import separable_terms
from convcli.media import registry
from convcli.media.options import ReadOptions
from convcli.networks.parse import load_net
from convcli.networks.weights import load_all
from tests.fuzz import seeds
from tests.pictures import chunk
from tests.test_bombs import gif, tiff

SLOWER = 9.0  # than a quarter: twice is noise, quadratic were 16
LEAST = 0.02  # seconds, below which nothing is said


def media(name: str, content: Callable[[int], bytes]) -> Callable[[int, Path], Callable[[], object]]:
    """Return what makes a file of a size and gives what reads its beginning."""

    def prepared(count: int, folder: Path) -> Callable[[], object]:
        data = content(count)
        format, _ = registry.identify(data[: registry.HEAD], name)

        def read() -> None:
            with contextlib.closing(
                registry.open_source(io.BytesIO(data), format, ReadOptions(all_frames=True))
            ) as source:
                source.strip(0, min(3, source.info.length))

        return read

    return prepared


def on_disk(
    name: str, content: Callable[[int], bytes], read: Callable[[Path], object]
) -> Callable[[int, Path], Callable[[], object]]:
    def prepared(count: int, folder: Path) -> Callable[[], object]:
        path = folder / f"{count}{name}"
        path.write_bytes(content(count))
        return lambda: read(path)

    return prepared


def columns(kinds: str) -> Callable[[int], bytes]:
    def made(count: int) -> bytes:
        names = ",".join(f"c{index}" for index in range(count))
        return "\n".join([names, *[",".join((kinds * count)[:count])] * 3, ""]).encode()

    return made


def apng(count: int) -> bytes:
    pixel, number = zlib.compress(b"\0\0"), 0
    parts = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        chunk(b"acTL", struct.pack(">II", count, 0)),
    ]
    for index in range(count):
        parts.append(chunk(b"fcTL", struct.pack(">5IHHBB", number, 1, 1, 0, 0, 1, 10, 0, 0)))
        parts.append(
            chunk(b"fdAT", struct.pack(">I", number + 1) + pixel) if index else chunk(b"IDAT", pixel)
        )
        number += 2 if index else 1
    return b"".join((b"\x89PNG\r\n\x1a\n", *parts, chunk(b"IEND", b"")))


def with_chunks(count: int) -> bytes:
    data = seeds.pillow(seeds.RGB, "PNG")
    return data[:33] + chunk(b"tEXt", b"a\0b") * count + data[33:]


def with_segments(count: int) -> bytes:
    data = seeds.pillow(seeds.RGB, "JPEG")
    return data[:2] + b"\xff\xfe\0\3a" * count + data[2:]


def safetensors(count: int) -> bytes:
    entries = {f"a{n}": {"dtype": "U8", "shape": [1], "data_offsets": [n, n + 1]} for n in range(count)}
    head = json.dumps(entries).encode()
    return struct.pack("<Q", len(head)) + head + bytes(count)


def archive(count: int) -> bytes:
    file, member = io.BytesIO(), seeds.npy(np.ones(3))
    with zipfile.ZipFile(file, "w") as made:
        for number in range(count):
            made.writestr(f"a{number}.npy", member)
    return file.getvalue()


def net(path: Path) -> None:
    found = load_net(path)
    assert found.input is not None
    found.trace(found.input)


def printed(*words: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert run(list(words)) == 0


def explained(path: Path) -> None:
    printed("explain", str(path), "-k", "1,2,3", "--at", "1")


def filtered(path: Path) -> None:
    printed("filter", str(path), "-k", "box:3", "-yo", f"{path}.out.csv")


def long_kernel(path: Path) -> None:
    (path.parent / "x.csv").write_text("1\n2\n3\n")
    printed("filter", f"{path.parent}/x.csv", "-k", str(path), "--padding", "full", "-yo", f"{path}.out.csv")


CASES: dict[str, tuple[int, Callable[[int, Path], Callable[[], object]]]] = {
    "columns of numbers": (1000, media("a.csv", columns("1"))),
    "columns of text among them": (1000, media("a.csv", columns("1x"))),
    "digits": (20_000, media("a.csv", lambda n: b"a,b\n1," + b"1" * n + b"x\n2,3\n")),
    "groups of digits": (20_000, media("a.csv", lambda n: b"a;b\n1;" + b"1.111" * (n // 5) + b"x\n2;3\n")),
    "quotes": (20_000, media("a.csv", lambda n: b'a,b\n1,"' + b'""' * n + b'"\n2,3\n')),
    "rows": (10_000, media("a.csv", lambda n: b"a,b\n" + b"1,x\n" * n)),
    "chunks": (5000, media("a.png", with_chunks)),
    "frames of a PNG": (500, media("a.png", apng)),
    "segments": (5000, media("a.jpg", with_segments)),
    "frames of a GIF": (200, media("a.gif", lambda n: gif(1, 1, n))),
    "pages": (200, media("a.tif", lambda n: tiff(4, 4, pages=n, rows=4))),
    "arrays of safetensors": (1000, on_disk("a.safetensors", safetensors, load_all)),
    "arrays of an archive": (250, on_disk("a.npz", archive, load_all)),
    "weights of YAML": (
        1000,
        on_disk("a.yaml", lambda n: b"name: a\nweights: [" + b"1," * n + b"1]\n", lambda path: load_kernel(str(path))),
    ),
    "weights of a text": (1000, lambda n, folder: lambda: load_kernel(",".join(["1/3"] * n))),
    "rows of a text": (500, lambda n, folder: lambda: load_kernel(";".join(["1,2"] * n))),
    "layers of a net": (100, on_disk("n.yaml", lambda n: b"input: 1@9x9\nlayers:\n" + b"- relu\n" * n, net)),
    "layers of shape": (200, lambda n, folder: lambda: printed("shape", "32x32", *["conv:3,p=1"] * n)),
    "outputs that see nothing": (
        500,
        lambda n, folder: lambda: trace(parse_layers([f"tconv:2,s={n}", f"conv:{n},s=7", f"conv:{n}"]), None, (99,)),
    ),
    "layers up and down": (
        100,
        lambda n, folder: lambda: trace(parse_layers(["conv:4,s=2,p=1", "tconv:4,s=2,p=1"] * n), None, (32, 32)),
    ),
    "rows of a kernel": (300, lambda n, folder: lambda: separable_terms(np.outer(np.arange(n), np.arange(900.0)))),
    "columns that are filtered": (2500, on_disk("a.csv", columns("1"), filtered)),
    "a kernel beside few samples": (20_000, on_disk("a.csv", lambda n: b"0.5\n-1\n" * n, long_kernel)),
    "columns that are explained": (1000, on_disk("a.csv", columns("1"), explained)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_four_times_as_much_takes_four_times_as_long(name: str, tmp_path: Path) -> None:
    count, prepared = CASES[name]

    def seconds(size: int) -> float:
        read = prepared(size, tmp_path)
        spent = []
        for _ in range(2):
            start = time.process_time()
            read()
            spent.append(time.process_time() - start)
        return min(spent)

    assert seconds(4 * count) < SLOWER * max(seconds(count), LEAST / 4)


def test_a_net_of_thousands_of_layers_runs(tmp_path: Path) -> None:
    """Each layer asked the one before for its part, a call inside a call."""
    (tmp_path / "n.yaml").write_text("input: 1@5x5\nlayers:\n" + "- relu\n" * 1100)
    np.save(tmp_path / "a.npy", np.arange(-12.0, 13.0).reshape(1, 5, 5))
    words = [
        "net",
        "run",
        tmp_path / "n.yaml",
        tmp_path / "a.npy",
        "--axes",
        "CYX",
        "-q",
        "-o",
        tmp_path / "b.npy",
    ]
    assert run([str(word) for word in words]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy").ravel(), np.maximum(np.arange(-12.0, 13.0), 0))
