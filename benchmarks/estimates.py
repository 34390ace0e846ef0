"""What the plan says of random jobs beside what they take: seconds of computing, and the peak of memory.

Every job is a command in a process of its own, on files: pictures, arrays, volumes, banks, tables and clips of any type
and size, with strides, dilation, pools, chains and transposed kernels.  Seconds are the processor time inside boxes, on
one thread, so that reading, writing and other programs do not count.  The peak is that of the whole process.

    python benchmarks/estimates.py                        # 100 jobs, some minutes
    python benchmarks/estimates.py --jobs 20 --seed 7     # others
    python benchmarks/estimates.py --only bank            # of one kind
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median

import numpy as np

TIMES, SHARE = 3.0, 0.3  # that an estimate may be off: seconds, memory
NOTHING = 0.02  # seconds that no one waits for: not compared
REAL = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
THREADS = 2


@dataclass(frozen=True)
class Outcome:
    """What was said, and what was found.

    Attributes
    ----------
    said, took : float
        Seconds of computing on one thread.
    memory, peak, before : float
        Bytes of the whole process: said, found, and taken before the work began.
    blocks : float
        Bytes that were said of blocks alone.
    """

    name: str
    plan: str
    said: float
    took: float
    memory: float
    peak: float
    before: float
    blocks: float


class Inputs:
    """Makes random inputs and commands in a folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.noise = np.random.default_rng(seed)

    def array(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if np.dtype(dtype).kind == "f":
            return self.noise.random(shape, np.float32).astype(dtype)
        return self.noise.integers(0, min(np.iinfo(dtype).max, 65535), shape, dtype)

    def save(self, array: np.ndarray, name: str = "in.npy") -> str:
        np.save(self.folder / name, array)
        return str(self.folder / name)

    def side(self, least: int, most: int) -> int:
        """Return a size, small ones as likely as large ones."""
        return round(least * (most / least) ** self.draw.random())

    def kernel(self, rank: int, most: int) -> list[str]:
        """Return options of a random kernel or pool."""
        draw = self.draw
        k = 2 * (self.side(3, most) // 2) + 1
        dense = ["-k", self.save(self.noise.normal(size=(k,) * rank), f"kernel{draw.random()}.npy")]
        size = "x".join([str(k)] * rank)
        sigma = "x".join([f"{self.side(1, 8)}"] * rank)
        choice = draw.choice(
            ["dense"] * 3 + ["box", "gaussian", "sobel", "pool", "chain", "stride", "dilation", "up"]
        )
        small = ["-k", self.save(self.noise.normal(size=(3,) * rank), f"small{draw.random()}.npy")]
        match choice:
            case "box":
                return ["-k", f"box:{size}"]
            case "gaussian":
                return ["-k", f"gaussian:sigma={sigma}"]
            case "sobel":
                return ["-k", "sobel"] if rank == 2 else dense
            case "pool":
                kind = draw.choice(["max", "avg", "min", "median"])
                pool = "x".join([str(self.side(2, 5))] * rank)
                return ["--pool", f"{kind}:{pool}" + draw.choice(["", ",s=1"])]
            case "chain":
                return [*small, "-k", f"box:{size}"]
            case "stride":
                return [*dense, "--stride", draw.choice(["2", "3"])]
            case "dilation":
                return [*small, "--dilation", draw.choice(["2", "5"])]
            case "up":
                return [*small, "--transpose", "--stride", "2"]
        return dense

    def picture(self) -> list[str]:
        draw = self.draw
        suffix, dtype = draw.choice(
            [("png", "uint8"), ("png", "uint16"), ("tiff", "uint8"), ("tiff", "uint16"), ("tiff", "float32"),
             ("jpg", "uint8"), ("bmp", "uint8"), ("webp", "uint8")]
        )  # fmt: skip
        channels = draw.choice([1, 3, 4] if suffix in ("png", "tiff") and dtype == "uint8" else [1, 3])
        shape = (self.side(128, 4000), self.side(128, 4000), channels)[: 3 if channels > 1 else 2]
        smooth = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 251
        array = self.array(shape, dtype)
        if dtype == "uint8":
            array = array % 8 + (smooth if array.ndim == 2 else smooth[..., None]).astype("uint8") // 2
        path = self.folder / f"in.{suffix}"
        if suffix == "tiff":
            import tifffile

            options = {"photometric": "rgb", "extrasamples": ["unassalpha"]} if channels == 4 else {}
            tifffile.imwrite(path, array, rowsperstrip=64, **options)
        elif dtype == "uint16":
            import imagecodecs

            path.write_bytes(imagecodecs.png_encode(array))
        else:
            from PIL import Image

            Image.fromarray(array).save(path)
        out = draw.choice([suffix, suffix, "png", "tiff"])
        shown = ["--range", "clip"] if dtype == "float32" and out != "tiff" else []
        return [str(path), *self.kernel(2, 31), *shown, "-o", str(self.folder / f"out.{out}")]

    def plain(self) -> list[str]:
        path = self.save(self.array((self.side(64, 5000), self.side(64, 5000)), self.draw.choice(REAL)))
        return [path, *self.kernel(2, 127), *self.draw.choice([[], ["--range", "float"]]), *self.out()]

    def volume(self) -> list[str]:
        shape = self.side(16, 128), self.side(32, 512), self.side(32, 512)
        path = self.save(self.array(shape, self.draw.choice(REAL)))
        return [path, "--axes", "ZYX", *self.kernel(3, 9), *self.out()]

    def bank(self) -> list[str]:
        draw = self.draw
        inputs, outputs = draw.choice([1, 3, 16, 64]), draw.choice([8, 32, 64])
        n, k = self.side(32, 512), draw.choice([1, 3, 5])
        path = self.save(self.array((inputs, n, n), draw.choice(["uint8", "float32"])))
        bank = self.save(self.noise.normal(size=(outputs, inputs, k, k)), "bank.npy")
        stride = draw.choice([[], ["--stride", "2"]])
        return [path, "--axes", "CYX", "-k", bank, "--range", "float", *stride, *self.out()]

    def signals(self) -> list[str]:
        shape = self.draw.choice([1, 2, 8]), self.side(1000, 2_000_000)
        path = self.save(self.array(shape, self.draw.choice(REAL)))
        return [path, "--axes", "CX", *self.kernel(1, 2001), *self.out()]

    def table(self) -> list[str]:
        import polars

        columns = self.draw.choice([1, 3, 50])
        rows = self.side(1000, 1_000_000 // columns)
        frame = polars.from_numpy(self.noise.normal(size=(rows, columns)).round(3))
        frame.write_csv(self.folder / "in.csv")
        return [str(self.folder / "in.csv"), *self.kernel(1, 201), "-o", str(self.folder / "out.csv")]

    def clip(self) -> list[str]:
        import av

        path, (h, w) = self.folder / "in.mp4", (self.side(32, 540) * 2, self.side(32, 960) * 2)
        with av.open(path, "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(25), options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
            still = np.add.outer(np.arange(h), np.arange(w * 3).reshape(w, 3)) % 256
            for number in range(self.side(8, 40)):
                frame = np.roll(still, number, 1).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            container.mux(stream.encode())
        kernel = self.draw.choice(
            [
                ["-k", "box:5"],
                ["-k", "gaussian:sigma=3"],
                ["-k", "sobel"],
                ["-k", "box:3x1x1"],
                self.kernel(2, 9),
            ]
        )
        out = [] if "--transpose" in kernel else ["-o", str(self.folder / "out.mp4")]
        return [str(path), *kernel, *(out or self.out())]

    def out(self) -> list[str]:
        return ["-o", str(self.folder / "out.npy")]


KINDS = ("picture", "picture", "plain", "volume", "bank", "signals", "table", "clip")


def run(words: list[str]) -> None:
    """Run one command in this process, and print what was said and found."""
    from convcli.cli.program import run as program
    from convcli.execution.box import Runner
    from convcli.execution.pipeline import Pipeline

    spent, plans = [0.0], []

    def timed(name: str) -> None:
        inner = getattr(Runner, name)

        def call(*arguments: object, **more: object) -> object:
            start = time.process_time()
            try:
                return inner(*arguments, **more)
            finally:
                spent[0] += time.process_time() - start

        setattr(Runner, name, call)

    def write(pipeline: Pipeline, *arguments: object) -> object:
        plans.append(
            (
                str(pipeline.plan.lines[0]),
                pipeline.plan.seconds,
                pipeline.memory,
                pipeline.plan.memory,
                _memory(),
            )
        )
        return inner_write(pipeline, *arguments)

    inner_write = Pipeline.write
    Pipeline.write = write  # type: ignore[method-assign,assignment]
    for name in ("pixels", "values"):
        timed(name)
    code = program(["filter", *words, "-y", "-q"])
    print(json.dumps([code, spent[0], _memory(), *plans]))


def _memory() -> int:
    """Return the most memory that this process has had, in bytes; that of its parent does not count."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def measure(words: list[str], name: str) -> Outcome | None:
    """Return a job's outcome; None for one that is refused."""
    took = said = 0.0
    for threads in (1, THREADS):
        command = [sys.executable, __file__, "--run", json.dumps([*words, "--threads", str(threads)])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        *_, line = done.stdout.splitlines() or ["[1]"]
        code, *found = json.loads(line)
        if code:
            print(f"{name}: refused: {done.stderr.strip()[-300:]}")
            return None
        seconds, peak, (plan, estimate, memory, blocks, before) = found
        if threads == 1:
            took, said = seconds, estimate
    return Outcome(name, plan, said, took, memory, peak, before, blocks)


def report(outcomes: list[Outcome]) -> None:
    """Print how many estimates hold, for each kind and for all."""
    for kind in [*dict.fromkeys(KINDS), ""]:
        mine = [one for one in outcomes if one.name.startswith(kind)]
        if not mine:
            continue
        times = [one.took / one.said for one in mine if max(one.took, one.said) >= NOTHING]
        shares = [one.peak / one.memory for one in mine]
        good = sum(1 / TIMES <= one <= TIMES for one in times), sum(abs(one - 1) <= SHARE for one in shares)
        spread = f"{min(times):.2f} to {max(times):.2f}, median {median(times):.2f}" if times else "-"
        memory = f"{min(shares):.2f} to {max(shares):.2f}, median {median(shares):.2f}"
        print(
            f"{kind or 'all'}: seconds {good[0]}/{len(times)} ({spread}); memory {good[1]}/{len(mine)} ({memory})"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=sorted(set(KINDS)))
    parser.add_argument("--run", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run)
        return 0
    outcomes = []
    for number in range(options.jobs):
        with tempfile.TemporaryDirectory() as folder:
            inputs = Inputs(Path(folder), options.seed * 1000 + number)
            kind = options.only or inputs.draw.choice(KINDS)
            words = getattr(inputs, kind)()
            name = f"{kind} {' '.join(words).replace(folder + '/', '')}"
            if (found := measure(words, name)) is None:
                continue
        outcomes.append(found)
        print(
            f"{number:3} {found.said * 1e3:7.1f} ms {found.took * 1e3:7.1f} ms {found.took / found.said:5.2f}  "
            f"{found.memory / 1e6:6.0f} MB {found.peak / 1e6:6.0f} MB {found.peak / found.memory:5.2f} "
            f"({found.before / 1e6:.0f} + {found.blocks / 1e6:.0f})  {name}: {found.plan.partition(':')[0]}",
            flush=True,
        )
    report(outcomes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
