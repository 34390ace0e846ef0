"""Compiles the loops of ``convcli/engines/native``: a hook of the build, and a program of its own for ``make``.

Without a C compiler (nor the package ziglang, which holds one) the build goes on: numpy and torch then do everything.
``CONVCLI_PURE=1`` builds the wheel that runs everywhere.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).parent / "convcli" / "engines" / "native"
LIBRARY = FOLDER / "librows.so"
FLAGS = [
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
]
TUNED = [
    "-mtune=icelake-server"
]  # GCC then loads what it needs twice once (its generic way: medians take 1.6 times)
WIDTHS = {  # bytes of a vector, and the processors that have them
    "x86_64": {
        16: ["-march=x86-64-v2"],
        32: ["-march=x86-64-v3", *TUNED],
        64: ["-march=x86-64-v4", "-mprefer-vector-width=512", *TUNED],
    },
    "aarch64": {16: []},
}


def compiler() -> list[str] | None:
    """Return the words that begin a compiler's command, None where there is none."""
    if named := os.environ.get("CC"):
        return shlex.split(named)
    if found := next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None):
        return [found]
    return [sys.executable, "-m", "ziglang", "cc"] if find_spec("ziglang") else None


def compile_library(to: Path = LIBRARY, more: tuple[str, ...] = ()) -> bool:
    """Compile the loops, for each width of vectors and type of lanes; return whether there is a library now.

    Parameters
    ----------
    to : Path
    more : tuple of str
        Flags, such as those of a sanitizer.
    """
    sources = [Path(__file__), *FOLDER.glob("*.[ch]")]
    if not more and to.exists() and to.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return True
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
    found = compiler()
    if found is None or machine not in WIDTHS:
        return False
    position = [] if os.name == "nt" else ["-fPIC"]
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for (width, flags), lanes in product(
            WIDTHS[machine].items(), range(9)
        ):  # the last four are of the loops that rank
            objects.append(f"{folder}/{width}-{lanes}.o")
            source = [
                str(FOLDER / ("rows.c" if lanes < 5 else "ranks.c")),
                "-c",
                f"-DWIDTH={width}",
                f"-DLANES={lanes}",
                "-o",
                objects[-1],
            ]
            commands = [*found, *FLAGS, *position, *flags, *more, *source]
            if subprocess.run(commands, check=False).returncode:
                return False
        made = f"{folder}/{to.name}"
        link = [*found, *FLAGS, *position, *more, "-shared", str(FOLDER / "widths.c"), *objects, "-o", made]
        if subprocess.run(link, check=False).returncode:
            return False
        to.unlink(missing_ok=True)  # a process that uses it keeps its own
        shutil.move(made, to)
    return True


class Hook(BuildHookInterface[Any]):
    """Puts the library into the wheel, which then is one of its system; an editable install finds it in its place."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or os.environ.get("CONVCLI_PURE") == "1":
            return
        if not compile_library():
            self.app.display_warning(
                "no C compiler: convcli will work without its compiled loops, only slower"
            )
            return
        if version != "editable":
            build_data["artifacts"].append(f"/{LIBRARY.relative_to(self.root).as_posix()}")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{_platform()}"


def _platform() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


if __name__ == "__main__":
    if not compile_library(more=tuple(sys.argv[1:])):
        print("no C compiler: numpy and torch do everything, only slower", file=sys.stderr)
