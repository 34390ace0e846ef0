"""Kernels: what they are, and every way to name one.  Nothing here imports numpy until an array is wanted."""

import difflib
import re
from pathlib import Path

from convcli.common import UsageError, in_range, quoted, whole
from convcli.kernel import library
from convcli.kernel.array_file import SUFFIXES, is_array_file, read_array
from convcli.kernel.model import MAX_RANK, Combine, Defaults, Kernel
from convcli.kernel.parametric import FORMULAS
from convcli.kernel.text import parse_inline

__all__ = ["Combine", "Defaults", "Kernel", "is_known", "load_kernel"]

_YAML = (".yaml", ".yml")


def load_kernel(text: str, rank: int = 2, stored: int | None = None) -> Kernel:
    """Return the kernel that a text means.

    Parameters
    ----------
    text
        Tried in this order: a name from the library (``hedge``), a parametric name (``gaussian:sigma=2``),
        a file (``.yaml``, ``.yml``, ``.npy``, ``.npz#KEY``, ``.safetensors#KEY``), the weights themselves
        (``"1,0,-1;1,0,-1"``), a name that another package adds.
    rank
        For parametric names that leave their rank open: 1 for tables and sound, else 2.  A stored array of two or
        three dimensions is a bank (out × in × x) at rank 1.
    stored
        The size of the file that names it, which bounds parametric kernels as `check_size` says.

    Raises
    ------
    UsageError
        When it is none of these (the nearest names are suggested) or the kernel's text is at fault.
    ConvError
        When a file cannot be read.

    >>> load_kernel("box:5", rank=1).shape
    (1, 1, 5)
    """
    if not isinstance(text, str):
        raise UsageError(f"kernel {quoted(text)} is not possible: give a text, or Kernel.from_array(numbers)")
    text, rank = text.strip(), in_range(whole(rank, "rank"), "rank", 1, MAX_RANK)
    if is_known(text):
        return library.load(text, rank, stored)
    if Path(text).suffix.lower() in _YAML:
        from convcli.kernel.yaml_file import load_yaml

        return load_yaml(Path(text), rank)
    if is_array_file(text):
        return read_array(text, rank=1 if rank == 1 else None)
    if text[:1] in set("+-.,;|0123456789") and text[:2] not in ("..", "./"):
        return parse_inline(text)
    if made := library.added(text, rank, stored):
        return made
    raise UsageError(_unknown(text))


def is_known(text: str) -> bool:
    """Return whether a text names one of the library's kernels, which never change.

    >>> is_known("hedge"), is_known("box:3"), is_known("own.yaml")
    (True, True, False)
    """
    return text in library.names() or (text.partition(":")[0] in FORMULAS and ":" in text)


def everyday(name: str) -> str | None:
    """Return the kernel of a name, or the first one that serves what an everyday word means.

    >>> everyday("blur"), everyday("sobel"), everyday("canny")
    ('gaussian:2', 'sobel', None)
    """
    if name in library.names():
        return name
    what = next((what for words, what in _WORDS.items() if name.lower() in words.split()), "")
    found = re.match(r"try ([\w:=.-]+)", what)
    return found[1] if found else None


def _unknown(text: str) -> str:
    if not text:
        return (
            "the kernel is empty: give a name (see `convcli kernels list`), a file, or weights such as 1,0,-1"
        )
    name = text.partition(":")[0].lower()
    if "/" in name or Path(name).suffix:
        return f"kernel {quoted(text)}: a kernel file ends in {', '.join((*_YAML, *SUFFIXES))}"
    if name == "stft":
        return f"kernel {quoted(text)}: a spectrogram is the first kernel of `convcli filter`, and of nothing else"
    near = difflib.get_close_matches(name, library.names(), n=3)
    words = next((what for words, what in _WORDS.items() if name in words.split()), "")
    if words:
        return f"no kernel named {quoted(text)}; {words}"
    nearest = f"; nearest: {', '.join(near)}" if near else ""
    return f"no kernel named {quoted(text)}{nearest} (see `convcli kernels list`)"


_WORDS = {  # everyday names of filters, and what does their work here
    "blur blurred smooth smoothing soften": "try gaussian:2 or box:5",
    "denoise despeckle noise": "try median:3 for specks, gaussian:1 for grain",
    "mean average avg moving-average rolling": "try box:5",
    "edges edge-detect edge-detection outline contour gradient": "try sobel, or laplacian8",
    "edge-x edge-y": "try sobel-x or sobel-y, or gaussian:sigma=2,order=0x1",
    "derivative slope": "try edge or savgol:11,3,deriv=1 for signals, sobel-x for pictures",
    "bandstop notch": "a file of its weights works, such as those of scipy.signal.firwin",
    "sharpening sharper": "try sharpen or unsharp",
    "laplace laplacian": "try laplacian4, or log:sigma=2",
    "maximum dilate dilation": "try max:3",
    "minimum erode erosion": "try min:3",
    "opening open": "two windows in turn: -k min:3 -k max:3",
    "closing close": "two windows in turn: -k max:3 -k min:3",
    "mode vote": "try majority:3",
    "stdev stddev deviation roughness": "try std:5",
    "variance": "try var:5",
    "quantile rank": "try percentile:5,90",
    "movement moving": "try motion, or the command `convcli motion`",
    "canny": "Canny's method is more than a convolution (OpenCV's Canny, skimage.feature.canny); sobel begins it",
    "bilateral nlmeans": "its weights depend on the samples, so it is no convolution (OpenCV and scikit-image have it)",
    "contrast brightness gamma invert threshold levels equalize": "it needs no window: --range and --scale map values",
    "resize thumbnail downscale": "`magick` and `vips` resize; smaller by whole numbers: --pool avg:2",
    "rotate crop": "`magick` and `vips` do it",
}
