"""The page of all kernels is what its script makes today, and leaves none out."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
from PIL import Image

from convcli.kernel import library
from tests.test_readme import DOCS

_SCRIPT = importlib.util.spec_from_file_location("gallery", DOCS / "kernels.py")
assert _SCRIPT is not None and _SCRIPT.loader is not None
gallery = importlib.util.module_from_spec(_SCRIPT)
_SCRIPT.loader.exec_module(gallery)

PAGE = (DOCS / "kernels.md").read_text(encoding="utf-8")
PICTURES = DOCS / "pictures" / "kernels"
ENTRIES = [entry for entry in library.entries() if entry.kernel.name in library.names()]
DRAWN = ("motion", "savgol", "scharr", "unsharp")  # signals, pictures, banks and clips
ANEW = "run python docs/kernels.py"


def test_every_kernel_has_its_words_and_its_picture() -> None:
    assert PAGE.startswith(gallery.HEAD)
    for entry in ENTRIES:
        assert gallery.section(entry) in PAGE, ANEW
    assert re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE) == [*library.names(), "How bright edges are"]
    names = {path.stem for path in PICTURES.iterdir()}
    assert names == {*library.names(), "brightness"}
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 300_000


def test_pictures_are_those_of_today(tmp_path: Path) -> None:
    """But for how letters are drawn, which differs between versions of the libraries."""
    gallery.inputs(tmp_path)
    for entry in ENTRIES:
        if (name := entry.kernel.name) in DRAWN:
            gallery.draw(entry, tmp_path, tmp_path)
            made, known = (
                np.asarray(Image.open(folder / f"{name}.png").convert("L"), float)
                for folder in (tmp_path, PICTURES)
            )
            assert made.shape == known.shape and np.abs(made - known).mean() < 3, ANEW
