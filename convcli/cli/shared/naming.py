"""What outputs are called: ``STEM.KERNEL.EXT``, and ``STEM.KERNEL.0.EXT`` for one map of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convcli.kernel.model import slug


def default_name(source: str, slugs: Sequence[str], suffix: str) -> str:
    """Return an output's name from its input's and the slugs of what is done.

    >>> default_name("photos/a.b.png", ["gaussian-sigma=2", "sobel"], ".png")
    'a.b.gaussian-sigma=2+sobel.png'
    """
    stem = "stdin" if source == "-" else Path(source).stem
    return f"{stem}.{'+'.join(slugs)}{suffix}"


def map_names(path: str, maps: int) -> list[str]:
    """Return the names for each map of a bank.

    >>> map_names("out/a.bank.png", 2)
    ['out/a.bank.0.png', 'out/a.bank.1.png']
    """
    whole = Path(path)
    return [str(whole.with_name(f"{whole.stem}.{index}{whole.suffix}")) for index in range(maps)]


def pool_slug(text: str) -> str:
    """Return a pool's part of a file name.

    >>> pool_slug("pool:max:2")
    'max-2'
    """
    return slug(text.removeprefix("pool:").replace("gpool:", "global-"))
