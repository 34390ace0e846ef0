"""Every command on files that other programs wrote, beside files that it has no business with."""

from __future__ import annotations

import io
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from tests import clips
from tests.fuzz import seeds

NET = "input: 3@16x16\nlayers:\n  - conv: {kernel: sobel-x}\n  - relu\n"
LEARNS = """input: 1@8x8
seed: 0
preprocess: {grey: mean, scale: 1/255}
layers:
  - conv: {maps: 1, size: 3, padding: 1}
"""
MATPLOTLIB = ("home", "/etc/fonts", "/var/cache/fontconfig", "/usr/bin/fc-list", "/bin/fc-list")
PAIRS = ("socketpair",)
STRANGE = (
    "http://127.0.0.1:9/a.png",
    "file:secret.png",
    "concat:secret.png",
    "list.ts",
    "list.mp4",
    "drawing.png",
)


@dataclass(frozen=True)
class Job:
    """A command line, the files that it reads and writes, and how it may end."""

    words: tuple[str, ...]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    codes: tuple[int, ...] = (0,)
    stdin: str = ""
    before: tuple[str, ...] = ()  # a command that makes an input
    extra: tuple[str, ...] = ()


@cache
def _weights() -> bytes:
    import torch

    torch.save({"conv1.weight": torch.ones(1, 1, 3, 3), "conv1.bias": torch.zeros(1)}, file := io.BytesIO())
    return file.getvalue()


def inputs(folder: Path) -> None:
    """Write what the jobs read, and ``secret`` files that none may open."""
    for name in ("a.jpg", "a.webp", "a.bmp", "a.tif", "a.ppm", "a.tga", "a.jp2", "a.avif"):
        Image.fromarray(seeds.RGB).save(folder / name)
    for name in ("a.png", "b.png", "secret.png"):
        Image.fromarray(np.kron(seeds.RGB[:8, :8], np.ones((2, 2, 1), np.uint8))).save(folder / name)
    for suffix in (*seeds.SOUNDS, "m4a", "aac", "parquet", "arrow", "h5"):
        (folder / f"a.{suffix}").write_bytes(seeds.files(suffix)[0])
    for suffix in ("mp4", "mkv", "avi", "ts", "y4m"):
        (folder / f"a.{suffix}").write_bytes(seeds.clip(suffix))
    (folder / "a.gif").write_bytes(seeds.framed("GIF"))
    (folder / "moving.png").write_bytes(seeds.framed("PNG"))
    (folder / "pages.tif").write_bytes(seeds.pages(seeds.GREY, seeds.GREY))
    clips.make(folder / "sound.mp4", clips.pattern(6), sound=True)
    (folder / "frames").mkdir()
    (folder / "out").mkdir()
    for number in range(3):
        Image.fromarray(np.roll(seeds.RGB, number, 1)).save(folder / f"frames/{number}.png")
    np.save(folder / "a.npy", seeds.GREY.astype(float))
    np.savez(folder / "k.npz", w=np.ones((3, 3)))
    (folder / "k.safetensors").write_bytes(seeds.files("safetensors")[0])
    (folder / "k.yaml").write_text("name: k\nweights: [[1, 2], [3, 4]]\n")
    (folder / "w.pth").write_bytes(_weights())
    (folder / "a.csv").write_text("t,v\n1,2\n2,3\n3,5\n")
    (folder / "net.yaml").write_text(NET)
    (folder / "learns.yaml").write_text(LEARNS)
    (folder / "secret.csv").write_text("1,2\n")
    # What FFmpeg would follow to other files
    (folder / "list.ts").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsound.mp4\n#EXT-X-ENDLIST\n"
    )
    (folder / "list.mp4").write_text("ffconcat version 1.0\nfile sound.mp4\n")
    (folder / "drawing.png").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="secret.png"/></svg>'
    )


def avs2(folder: Path) -> bool:
    """Write a clip that only the ffmpeg program decodes; tell whether that was possible."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    source = (
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=64x48:r=25",
        "-t",
        "0.2",
        "-c:v",
        "libxavs2",
        str(folder / "odd.mkv"),
    )
    return subprocess.run([program, "-v", "error", *source], capture_output=True, check=False).returncode == 0


def _filter(name: str, target: str, *more: str, kernel: str = "box:3", reads: tuple[str, ...] = ()) -> Job:
    return Job(("filter", name, "-k", kernel, "-o", target, *more), (name, *reads), (target,))


def _job(target: str, *more: str) -> Job:
    return replace(
        _filter("a.npy", target, "--axes", "YX", *more), writes=(target, f"{target}.job"), extra=PAIRS
    )


def _learn(curve: str, extra: tuple[str, ...] = ()) -> Job:
    words = ("learn", "a.png", "b.png", "--net", "learns.yaml", "--epochs", "2", "--curve", curve)
    made = ("l.safetensors", "l.checkpoint.safetensors", curve)
    return Job((*words, "-o", made[0]), ("a.png", "b.png", "learns.yaml"), made, extra=extra)


def _jobs() -> dict[str, Job]:
    same = {f"filter {name}": _filter(name, f"out{Path(name).suffix}") for name in (
        "a.png", "a.jpg", "a.webp", "a.bmp", "a.tif", "a.npy", "a.csv", "a.mp4", "a.mkv", "a.avi", "a.ts", "a.y4m")
    }  # fmt: skip
    same |= {f"filter a.{suffix}": _filter(f"a.{suffix}", f"out.{suffix}") for suffix in (
        *seeds.SOUNDS, "m4a", "parquet", "arrow")
    }  # fmt: skip
    same["filter a.h5"] = replace(_filter("a.h5", "out.h5"), extra=("/usr/bin/uname",))  # h5py asks it
    same["filter a.aac"] = _filter("a.aac", "out.wav")
    same["a sound as kernel"] = _filter("a.wav", "out.wav", kernel="a.aiff", reads=("a.aiff",))
    read = {f"filter {name}": _filter(name, "out.png") for name in ("a.ppm", "a.tga", "a.jp2", "a.avif")}
    animated = {
        f"filter {name} to {target}": _filter(name, target, "--frames", "all", "-q")
        for name, target in (
            ("a.gif", "out.gif"),
            ("moving.png", "out.png"),
            ("a.gif", "out.webp"),
            ("a.gif", "out.mp4"),
        )
    }
    numbered = tuple(f"frames/{number}.png" for number in range(3))
    refused = {
        f"refused: {name}": Job(("filter", name, "-k", "box:3", "-o", "out.png"), (name,), codes=(1, 2))
        for name in STRANGE
    }
    learning = _learn("c.csv")
    return {
        **same, **read, **animated, **refused,
        "filter with sound": _filter("sound.mp4", "out.mp4"),
        "filter pages": _filter("pages.tif", "out.tif"),
        "filter from a pipe": Job(("filter", "-", "-k", "box:3", "--pad-mode", "circular", "-o", "-"), stdin="a.tif"),
        "filter a clip from a pipe": Job(
            ("filter", "-", "-k", "box:3", "-o", "out.mp4"), (), ("out.mp4",), stdin="a.mp4"
        ),
        "filter in a folder": Job(
            ("filter", "a.png", "b.png", "-k", "box:3", "--out-dir", "out"), ("a.png", "b.png"), ("out",), extra=PAIRS
        ),
        "filter a folder": Job(
            ("filter", "frames", "-r", "-k", "box:3", "--threads", "1", "--out-dir", "out"), numbered, ("out",)
        ),
        "filter numbered": Job(("filter", "frames/%d.png", "-k", "box:3", "-o", "out/%03d.png"), numbered, ("out",)),
        "filter over an old target": _filter("a.png", "b.png", "-y"),
        "filter with torch": _filter("a.png", "out.png", "--engine", "torch"),
        "filter in one's own codec": _filter("a.mp4", "out.mkv", "--codec", "ffv1", "--json"),
        "filter by minmax": _filter("a.tif", "out.png", "--range", "minmax"),
        "kernel of YAML": _filter("a.png", "out.png", kernel="k.yaml", reads=("k.yaml",)),
        "kernel of npz": _filter("a.png", "out.png", kernel="k.npz", reads=("k.npz",)),
        "kernel of safetensors": _filter("a.png", "out.png", kernel="k.safetensors#a", reads=("k.safetensors",)),
        "dry run": Job(("filter", "a.png", "-k", "hedge", "--dry-run", "-v"), ("a.png",)),
        "motion": Job(
            ("motion", "sound.mp4", "-o", "out.mp4", "--events", "e.csv", "--heatmap", "h.png", "--still", "s.png"),
            ("sound.mp4",), ("out.mp4", "e.csv", "h.png", "s.png"),
        ),
        "motion, no output": Job(("motion", "a.gif", "--no-output", "--json"), ("a.gif",)),
        "shape": Job(("shape", "3@32x32", "conv:6@5x5", "--compare")),
        "shape, search": Job(("shape", "224x224", "--kernel-size", "7", "--want", "112x112")),
        "matrix": Job(("matrix", "--input", "4x4", "-k", "3x3", "-o", "w.npz"), (), ("w.npz",)),
        "matrix, verified": Job(("matrix", "--input", "14x19", "-k", "3x3", "--verify", "a.npy"), ("a.npy",)),
        "explain": Job(("explain", "a.png", "-k", "sobel-x", "--at", "5,5", "-o", "w.png"), ("a.png",), ("w.png",)),
        "explain, GIF": Job(("explain", "--animate", "w.gif", "--input", "5x5", "-k", "3x3"), (), ("w.gif",)),
        "explain, clip": Job(("explain", "--animate", "w.mp4", "--input", "5x5", "-k", "3x3"), (), ("w.mp4",)),
        "explain, page": Job(("explain", "--animate", "w.html", "--input", "5x5", "-k", "3x3"), (), ("w.html",)),
        "workers": _job("out.npy", "--workers", "2"),
        "workers, a store": _job("out.zarr", "--workers", "2"),
        "part of a job": _job("out.npy", "--part", "1/2"),
        "kept job": _job("out.npy", "--keep-job"),
        "explain, field": Job(("explain", "a.png", "--net", "net.yaml", "--at", "2,2", "-o", "f.png"),
                              ("a.png", "net.yaml"), ("f.png",)),
        "net run": Job(("net", "run", "net.yaml", "a.png", "-o", "out.npy", "--maps", "m.png"), ("net.yaml", "a.png"),
                       ("out.npy", "m.png")),
        "net run, weights": Job(
            ("net", "run", "learns.yaml", "a.png", "-w", "w.pth", "-o", "out.npy"), ("learns.yaml", "a.png", "w.pth"),
            ("out.npy",),
        ),
        "net show": Job(("net", "show", "net.yaml"), ("net.yaml",)),
        "net check": Job(("net", "check", "net.yaml", "a.png"), ("net.yaml", "a.png")),
        "learn a kernel": Job(
            ("learn", "a.png", "b.png", "--size", "3x3", "-o", "k2.yaml"), ("a.png", "b.png"), ("k2.yaml",)
        ),
        "learn a net": learning,
        "learn, curve as a picture": _learn("c.png", MATPLOTLIB),
        "learn, resumed": replace(
            learning,
            words=(*learning.words, "--resume", "l.checkpoint.safetensors", "-y"),
            reads=(*learning.reads, "l.checkpoint.safetensors"),
            before=learning.words,
        ),
        "learn, gradients": Job(("learn", "--gradcheck", "--input", "6x7", "--size", "3x2")),
        "kernels list": Job(("kernels", "list")),
        "kernels show": Job(("kernels", "show", "k.yaml"), ("k.yaml",)),
        "doctor": Job(("doctor",)),
        "help": Job(("--help",)),
    }  # fmt: skip


JOBS = _jobs()
FALLBACK = Job(
    ("filter", "odd.mkv", "-k", "box:3", "-o", "out.mkv"),
    ("odd.mkv",),
    ("out.mkv",),
    extra=(imageio_ffmpeg.get_ffmpeg_exe(),),
)
