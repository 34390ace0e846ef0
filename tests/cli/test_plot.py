"""``filter --plot``: what is drawn is what the files hold."""

from __future__ import annotations

import base64
import importlib
import io
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convcli.cli.program import run
from convcli.cli.shared import figures
from convcli.cli.shared.drawing import Screen, curve, half_blocks
from convcli.cli.shared.views import View, _thinned
from convcli.media.options import ReadOptions
from tests.shell import SAMPLES, convcli, ok

SIGNAL = SAMPLES / "noisy-signal.csv"


def test_curves_lie_over_the_true_axis() -> None:
    table = np.loadtxt(SIGNAL, delimiter=",", skiprows=1)
    view = View.of(str(SIGNAL), ReadOptions())
    np.testing.assert_array_equal(view.values, table[:, 1:].T)
    np.testing.assert_allclose(view.places, table[:, 0], rtol=0, atol=1e-12)


def test_a_picture_and_the_middle_of_a_clip(tmp_path: Path) -> None:
    view = View.of(str(SAMPLES / "house.png"), ReadOptions())
    with Image.open(SAMPLES / "house.png") as image:
        np.testing.assert_allclose(view.picture, np.asarray(image.convert("RGB")) / 255, atol=1e-12)
    frames = np.random.default_rng(0).random((5, 6, 7))
    np.save(tmp_path / "clip.npy", frames)
    view = View.of(str(tmp_path / "clip.npy"), ReadOptions(axes="TYX"))
    np.testing.assert_array_equal(view.values, frames[2][None])


def test_a_clip_is_drawn_by_frames_spread_over_it(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).random((16, 6, 7))
    np.save(tmp_path / "clip.npy", frames)
    several = View.several(str(tmp_path / "clip.npy"), ReadOptions(axes="TYX"), 4)
    np.testing.assert_array_equal([view.values[0] for view in several], frames[[2, 6, 10, 14]])
    few = View.several(str(tmp_path / "clip.npy"), ReadOptions(axes="ZYX"), 99)
    np.testing.assert_array_equal([view.values[0] for view in few], frames)


def test_dots_of_a_curve_are_where_its_samples_are() -> None:
    """Each column of dots has all levels from the least to the largest of its samples, and meets the one before."""
    heights = np.random.default_rng(1).random(154 * 3)
    lines = [f"{line[3:]:\u2800<77}" for line in curve(heights, 77)]
    bits = np.array([[ord(cell) - 0x2800 for cell in line] for line in lines])
    dots = np.zeros((32, 154), bool)
    for row, pair in enumerate([(0, 3), (1, 4), (2, 5), (6, 7)]):  # as Unicode numbers the dots of a cell
        for column, bit in enumerate(pair):
            dots[row::4, column::2] = bits >> bit & 1
    levels = np.rint(31 * (1 - heights)).astype(int).reshape(154, 3)
    for at, column in enumerate(levels):
        assert dots[column.min() : column.max() + 1, at].all()
        assert not at or (dots[:, at] & dots[:, at - 1]).any()
    assert np.flatnonzero(dots[:, 0]).tolist() == [*range(levels[0].min(), levels[0].max() + 1)]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--padding", "valid", "--stride", "2"), [1, 3, 5]),
        (("--padding", "full"), [-1, 0, 1, 2, 3, 4, 5, 6, 7]),
        (("--padding", "valid", "--dilation", "2"), [2, 3, 4]),
        (("--padding", "0", "--stride", "2", "--transpose"), np.arange(15) / 2 - 0.5),
    ],
)
def test_outputs_lie_at_the_middle_of_their_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], wanted: list[float]
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "save", lambda figure, *_, **__: drawn.append(figure))
    words = ("filter", str(SAMPLES / "book-signal.csv"), "-k", "1,2,3", *options, "-q", "-y")
    assert run([*words, "-o", str(tmp_path / "s.csv"), "--plot", str(tmp_path / "p.png")]) == 0
    before, after = drawn[0].axes[0].lines
    np.testing.assert_allclose(before.get_xdata(), np.arange(7))
    np.testing.assert_allclose(after.get_xdata(), wanted)


def test_curves_in_the_terminal_lie_over_one_true_axis_with_gaps(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("t,v\n0,1\n1,NaN\n2,3\n9,9\n10,2\n")
    done = ok("filter", "s.csv", "-k", "identity", "-o", "r.csv", "-q", "--plot", "-", cwd=tmp_path)
    title, *lines = done.stdout.decode().splitlines()[:9]
    assert title == "'s.csv': 1 to 9, over 0 to 10"
    cells = [f"{line[3:]:\u2800<77}" for line in lines]
    seen = [column for column in range(77) if any(line[column] != "\u2800" for line in cells)]
    assert seen == [0, *range(round(2 / 10 * 76), 77)]
    assert {line[round(9 / 10 * 76)] != "\u2800" for line in cells[:1]} == {True}  # the largest lies at 9


@pytest.mark.parametrize(
    ("term", "wanted"),
    [("truecolor", "38;2;200;120;0m"), ("24bit", "38;2;200;120;0m"), ("", "38;5;172m"), ("yes", "38;5;172m")],
)
def test_colours_are_exact_where_the_terminal_says_so(
    term: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """172 is 215, 135, 0 in xterm's cube."""
    monkeypatch.setenv("COLORTERM", term)
    (line,) = half_blocks([[(200 / 255, 120 / 255, 0.0)]])
    assert line == f"\x1b[{wanted}▀\x1b[0m"


def on_a_terminal(*words: str, size: tuple[int, int, int, int], **environment: str) -> bytes:
    """Return what a command writes to a terminal of so many lines, columns and pixels across and down."""
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("4H", *size))
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", "convcli", *words]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE, env=kept | environment
    ) as process:
        os.close(writer)
        told = b""
        try:
            while part := os.read(reader, 1 << 16):
                told += part
        except OSError:  # what Linux says where the other end is closed
            pass
        assert process.stderr is not None
        assert (process.wait(), process.stderr.read()) == (0, b"")
    os.close(reader)
    return told


def of_kitty(told: bytes) -> np.ndarray:
    """https://sw.kovidgoyal.net/kitty/graphics-protocol: RGBA in parts, each in base64."""
    found = re.search(rb"\x1b_Ga=T,f=32,s=(\d+),v=(\d+),c=78,r=14,m=1", told)
    assert found is not None
    width, height = map(int, found.groups())
    parts = re.findall(rb"\x1b_G[^;\x1b]*;([^\x1b]*)\x1b", told)
    return np.frombuffer(b"".join(map(base64.b64decode, parts)), "u1").reshape(height, width, 4)


def of_iterm(told: bytes) -> np.ndarray:
    """https://iterm2.com/documentation-images.html: a file in base64."""
    found = re.search(
        rb"\x1b]1337;File=inline=1;width=78;height=14;preserveAspectRatio=0:([^\x07]*)\x07", told
    )
    assert found is not None
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as image:
        return np.asarray(image)


def of_sixel(told: bytes) -> np.ndarray:
    """VT330/VT340 Programmer Reference, chapter 14: colours in percent, columns of six pixels, runs by !."""
    found = re.search(rb'\x1bP[\d;]*q"1;1;(\d+);(\d+)(.*)\x1b', told, re.DOTALL)
    assert found is not None
    width, height = map(int, found.groups()[:2])
    drawn, colours = np.zeros((height + 5, width, 4), "u1"), {}
    x = y = number = 0
    for word in re.findall(rb"#[\d;]+|!\d+.|[$?-~-]", found[3]):
        if word[:1] == b"#":
            number, *colour = map(int, word[1:].split(b";"))
            if colour:
                colours[number] = np.array([*(round(2.55 * part) for part in colour[1:]), 255])
        elif word == b"$":
            x = 0
        elif word == b"-":
            x, y = 0, y + 6
        else:
            run = int(word[1:-1] or 1) if word[:1] == b"!" else 1
            for row in range(6):
                if (word[-1] - 63) >> row & 1:
                    drawn[y + row, x : x + run] = colours[number]
            x += run
    return drawn[:height]


PICTURES = {
    "kitty": (of_kitty, {"TERM": "xterm-kitty"}, 0),
    "ghostty": (of_kitty, {"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, 0),
    "iTerm": (of_iterm, {"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, 0),
    "sixel": (of_sixel, {"TERM": "foot"}, 3),  # 256 colours
}


@pytest.mark.parametrize("pixels", [(0, 0), (800, 480)], ids=["unknown", "10x20"])
@pytest.mark.parametrize("terminal", PICTURES)
def test_a_terminal_that_takes_pixels_gets_the_pictures(
    terminal: str, pixels: tuple[int, int], tmp_path: Path
) -> None:
    """House and edges, 38 characters wide each, resampled by Pillow."""
    decode, environment, most = PICTURES[terminal]
    try:
        importlib.import_module("chafa")
    except (ImportError, OSError) as problem:  # its C library, or GLib, is not there
        pytest.skip(str(problem))
    words = ("filter", str(SAMPLES / "house.png"), "-k", "sobel", "-q", "--plot", "-")
    told = on_a_terminal(*words, "-o", str(tmp_path / "edges.png"), size=(24, 80, *pixels), **environment)
    got = decode(told)
    wide = 10 if pixels[0] else 8
    wanted = Image.new("RGBA", (78 * wide, 28 * wide))
    for left, name in ((0, SAMPLES / "house.png"), (40, tmp_path / "edges.png")):
        with Image.open(name) as image:
            small = image.convert("RGB").resize((38 * wide, 28 * wide), Image.Resampling.BOX)
        wanted.paste(small, (left * wide, 0))
    if terminal == "sixel":  # has 256 colours, and rows by six
        wanted = wanted.resize((78 * wide, 28 * wide // 6 * 6), Image.Resampling.BOX)
    assert got.shape == (wanted.height, wanted.width, 4)
    off = np.abs(got.astype(int) - np.asarray(wanted))
    assert not off[..., 3].any()
    assert off.mean() < most if most else off.max() <= 1, (off.max(), off.mean())


def test_other_terminals_get_half_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("kernels", "show", "sobel-x")
    told = on_a_terminal(*words, size=(24, 80, 0, 0), TERM="xterm-256color", COLORTERM="truecolor")
    assert "▀".encode() in told
    told = on_a_terminal(*words, size=(24, 80, 0, 0), TERM="xterm-kitty", NO_COLOR="1")
    assert b"\x1b" not in told
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.setitem(sys.modules, "chafa", None)
    assert Screen.here() is None


def test_long_curves_keep_their_extremes() -> None:
    values = np.random.default_rng(1).normal(size=100_003)
    values[77_777] = 50
    places, kept = _thinned(np.arange(100_003.0), values)
    assert len(kept) <= 20_000
    assert (np.diff(places) > 0).all()
    assert kept.max() == 50
    assert kept[:-2].min() == values[:100_000].min()


@pytest.mark.parametrize("suffix", [".png", ".svg", ".html"])
def test_files(tmp_path: Path, suffix: str) -> None:
    ok("filter", SIGNAL, "-k", "mean3", "-o", tmp_path / "s.csv", "--plot", tmp_path / f"p{suffix}")
    drawn = (tmp_path / f"p{suffix}").read_bytes()
    if suffix == ".png":
        with Image.open(tmp_path / "p.png") as image:
            assert np.asarray(image.convert("L")).std() > 10
        return
    text = drawn.decode()
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", text)  # nothing from elsewhere
    curves = re.findall(r'<path d="([^"]+)" clip-path', text)
    assert max(curve.count("L") for curve in curves) > 100
    again = convcli(
        "filter", SIGNAL, "-k", "mean3", "-o", tmp_path / "t.csv", "--plot", tmp_path / f"p{suffix}"
    )
    assert again.returncode == 1
    assert b"it exists; overwrite it with -y" in again.stderr
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize("name", ["noisy-signal.csv", "house.png", "walk.mp4"])
def test_the_terminal(tmp_path: Path, name: str) -> None:
    done = ok("filter", SAMPLES / name, "-k", "mean3", "--out-dir", tmp_path, "-q", "--plot", "-")
    lines = done.stdout.decode().splitlines()
    assert len(lines) >= 8
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout.decode()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--plot", "p.xyz"), "a figure is written as .png, .svg, .pdf, .html"),
        (("--plot", "p.png", "-o", "-"), "name its file by -o, or preview it with --dry-run"),
        (("--plot", "p.png", "--out-dir", ".", SAMPLES / "house.png"), "--plot FILE draws one input"),
    ],
)
def test_refused_before_any_work(tmp_path: Path, more: tuple[object, ...], words: str) -> None:
    done = convcli("filter", SIGNAL, "-k", "mean3", *more, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", [(), ("-o", "soft.tiff"), ("--each", "-k", "median:3", "--out-dir", "out")])
def test_a_preview_draws_what_would_be_and_leaves_nothing(tmp_path: Path, more: tuple[str, ...]) -> None:
    """What the terminal shows after the line of the dry run is what it shows once the outputs are there."""
    arguments = ("filter", SAMPLES / "house.png", "-k", "box:9", *more, "--plot", "-", "-q")
    preview = ok(*arguments, "--dry-run", cwd=tmp_path).stdout.decode().splitlines()
    assert not list(tmp_path.iterdir())
    drawn = ok(*arguments, cwd=tmp_path).stdout.decode().splitlines()
    outputs = 1 + ("--each" in more)
    assert sorted(preview[outputs:]) == sorted(line for line in drawn if line.startswith("  "))
    assert len(preview) > 8 * outputs


def test_a_preview_needs_no_room_for_its_output(tmp_path: Path) -> None:
    """It writes nothing, so that a file of that name, or the input itself, is no obstacle: a note says so."""
    (tmp_path / "soft.png").write_bytes(b"old")
    shutil.copy(SAMPLES / "house.png", tmp_path)
    call = ("filter", "house.png", "-k", "box:9", "--dry-run", "--plot", "-", "-o")
    free, *others = [ok(*call, name, cwd=tmp_path) for name in ("free.png", "soft.png", "house.png")]
    assert free.stderr == b"" and len(free.stdout.splitlines()) > 8
    for done, said in zip(others, (b"soft.png': it exists", b"it is an input too"), strict=True):
        assert done.stdout.splitlines()[1:] == free.stdout.splitlines()[1:]
        assert said in done.stderr and done.stderr.startswith(b"note: ")
    assert (tmp_path / "soft.png").read_bytes() == b"old" and not (tmp_path / "free.png").exists()
    assert convcli(*call[:4], "--dry-run", "-o", "soft.png", cwd=tmp_path).returncode == 1


def test_a_colour_map_with_its_bar(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(size=(9, 11))
    np.save(tmp_path / "a.npy", values)
    ok(
        "filter",
        "a.npy",
        "-k",
        "identity:3",
        "--range",
        "viridis",
        "-o",
        "b.png",
        "--plot",
        "p.png",
        cwd=tmp_path,
    )
    with Image.open(tmp_path / "p.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for end in ((68, 1, 84), (253, 231, 37)):  # the ends of viridis: #440154 and #fde725
        assert (np.abs(pixels.astype(int) - end).max(axis=1) <= 1).sum() > 50


@pytest.mark.parametrize("kernel", ["sobel", "bank.npy"])
def test_arrays_without_names_of_axes_are_drawn_as_what_they_are(tmp_path: Path, kernel: str) -> None:
    """A colour picture, and the maps of a bank on one: the last axis of neither is space."""
    np.save(tmp_path / "bank.npy", np.random.default_rng(2).normal(size=(4, 3, 3, 3)))
    call = ("filter", SAMPLES / "house.png", "-k", kernel, "-o", "made.npy", "-q", "--plot", "-")
    preview = ok(*call, "--dry-run", cwd=tmp_path).stdout.decode().splitlines()[1:]
    drawn = ok(*call, cwd=tmp_path).stdout.decode().splitlines()
    assert preview == [line for line in drawn if line.startswith("  ")] and len(preview) > 8
    assert np.load(tmp_path / "made.npy").shape[-1] == (4 if kernel == "bank.npy" else 3)


def test_standard_input_is_drawn_as_its_file_would_be(tmp_path: Path) -> None:
    data = (SAMPLES / "house.png").read_bytes()
    run = ("-k", "box:9", "-o", "a.png", "-q", "--plot", "-")
    drawn = ok("filter", SAMPLES / "house.png", *run, cwd=tmp_path).stdout
    assert ok("filter", "-", *run, "-y", stdin=data, cwd=tmp_path).stdout == drawn
    made = (tmp_path / "a.png").read_bytes()
    preview = ok(
        "filter", "-", "-k", "box:9", "-q", "--plot", "-", "--dry-run", stdin=data, cwd=tmp_path
    ).stdout
    assert preview.splitlines()[1:] == drawn.splitlines()
    assert preview.startswith(b"stdin.box-9.png: ")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"] and (
        tmp_path / "a.png"
    ).read_bytes() == made
    refused = convcli("filter", "-", "-k", "box:9", "--plot", "-", stdin=data, cwd=tmp_path)
    assert refused.returncode == 2 and b"name its file by -o" in refused.stderr
