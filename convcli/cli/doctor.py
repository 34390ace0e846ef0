"""``convcli doctor``: what this installation can do, and what would make it do more."""

import platform
import textwrap
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, metadata, version
from importlib.util import find_spec

from convcli.cli.shared.options import ReportRequest
from convcli.cli.shared.report import show
from convcli.cli.shared.terminal import Table
from convcli.common.machine import available_memory, available_threads
from convcli.engines.native import library

WIDTH = 62  # of what stands beside the names, on a terminal of 80 columns
PACKAGES = {
    "engines": ("numpy", "torch"),
    "codecs": (
        "Pillow",
        "imagecodecs",
        "tifffile",
        "isal",
        "imageio",
        "imageio-ffmpeg",
        "av",
        "polars",
        "soundfile",
    ),
    "extras": ("onnx", "matplotlib", "chafa.py", "nibabel", "pydicom", "pynrrd"),
}


_SOURCE = {
    "documents": "docs/ in the source; `make docs` makes pages of them",
    "problems": "the issue forms of the source ask what to add to these lines",
}


class Request(ReportRequest):
    """Say what is installed (engines, codecs, extras), where documents are, where to report."""

    work = "doctor.doctor"


def doctor(request: Request) -> None:
    """Print what is installed."""
    loops = library.loops()
    versions = {group: {name: _version(name) for name in names} for group, names in PACKAGES.items()}
    cuda = _cuda()
    system = f"{platform.python_version()} on {platform.system()} {platform.release()}, {platform.machine()}"
    machine = {"threads": available_threads(), "memory": available_memory()}
    found = {
        "convcli": _version("convcli"),
        "python": system,
        "loops": None if loops is None else {"vector_bits": 8 * loops.width},
        "cuda": cuda,
        **versions,
        "machine": machine,
        "addresses": _addresses(),
    }
    rows = [("convcli", str(found["convcli"])), ("Python", system)]
    rows.append(("compiled loops", f"vectors of {8 * loops.width} bits" if loops else library.absence()))
    for group, packages in versions.items():
        said = ", ".join(f"{name} {one or 'not installed'}" for name, one in packages.items())
        lines = textwrap.wrap(said, WIDTH, break_on_hyphens=False)
        rows += zip((group, *[""] * (len(lines) - 1)), lines, strict=True)
    rows.append(("CUDA", ", ".join(cuda) or "no device"))
    rows += [("processors", str(machine["threads"])), *_addresses().items()]
    show(found, [Table(rows, wrap=True)], request)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _addresses() -> dict[str, str]:
    """Return where documents and issues are: the addresses that a distributor gives the package, else the source."""
    with suppress(PackageNotFoundError):
        if named := metadata("convcli").get_all("Project-URL"):
            return dict(url.split(", ", 1) for url in named)
    return _SOURCE


def _cuda() -> list[str]:
    """Return the names of torch's devices."""
    if find_spec("torch") is None:
        return []
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
