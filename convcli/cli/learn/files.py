"""Which files are examples, and which target belongs to which input.  Names only; nothing is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from convcli.cli.learn.request import Request
from convcli.common.errors import ConvError, UsageError
from convcli.common.frozen import frozen
from convcli.media.files.target import shown
from convcli.media.registry import READ


@frozen
class File:
    """A file and where it was found.

    ``key`` is its path within the folder that was named, without suffix; or the stem of a file that was named
    itself.
    """

    path: str
    key: str
    in_folder: bool

    @property
    def label(self) -> str:
        """The name of the folder that holds it."""
        return Path(self.path).resolve().parent.name


def expand(names: Sequence[str]) -> list[File]:
    """Return files, and the files in folders and folders within, in the order of their names.

    Raises
    ------
    ConvError
        For a folder without any file of a known type.
    """
    suffixes = {suffix for format in READ for suffix in format.suffixes}
    found: list[File] = []
    for name in names:
        folder = Path(name)
        if not folder.is_dir():
            found.append(File(name, folder.stem, False))
            continue
        inside = [
            Path(place, file)
            for place, folders, files in os.walk(folder)
            for file in files
            if Path(file).suffix.lower() in suffixes and not file.startswith(".")
        ]
        if not inside:
            raise ConvError("no file of a known type in this folder", subject=shown(name))
        keys = ((path, path.relative_to(folder).with_suffix("").as_posix()) for path in sorted(inside))
        found += [File(str(path), key, True) for path, key in keys]
    return found


def paired(request: Request) -> list[tuple[str, str]]:
    """Return inputs with their targets: files in the order they were given, those of folders by their names.

    Raises
    ------
    UsageError
        When their numbers differ, or an input has no target.
    """
    if not request.files:
        raise UsageError("nothing to learn from: give INPUT TARGET, or inputs and --target")
    if not request.targets:
        if len(request.files) % 2:
            count = len(request.files)
            raise UsageError(
                f"{count} file{'s' * (count > 1)} do not make pairs: give INPUT TARGET, again for more, "
                "or inputs and --target"
            )
        return list(zip(request.files[::2], request.files[1::2], strict=True))
    inputs, targets = expand(request.files), expand(request.targets)
    if not any(target.in_folder for target in targets):
        if len(inputs) != len(targets):
            raise UsageError(f"{len(inputs)} inputs and {len(targets)} targets: give a target for each input")
        return [(input.path, target.path) for input, target in zip(inputs, targets, strict=True)]
    by_key: dict[str, str] = {}
    for target in targets:
        if target.key in by_key:
            raise UsageError(
                f"both are called {target.key}",
                subject=f"{shown(by_key[target.key])} and {shown(target.path)}",
            )
        by_key[target.key] = target.path
    for input in inputs:
        if input.key not in by_key:
            raise UsageError(f"no target is called {input.key}", subject=shown(input.path))
    return [(input.path, by_key[input.key]) for input in inputs]
