"""Which files the inputs of a command line are: files, folders, and patterns that reach into several folders.

Hidden files are left out, and links to folders not followed, so that no way leads in a circle.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from convcli.cli.filter.request import Request
from convcli.cli.shared import outputs
from convcli.common import ConvError, UsageError, frozen, unreadable
from convcli.media import opening, registry
from convcli.media.files.target import STANDARD, shown
from convcli.media.registry import Format

TEMPLATE = "{dir}/{stem}.{kernel}{suffix}"


@frozen
class Input:
    """One input.

    Attributes
    ----------
    name
    inside
        Its folder, within the one that was named; empty for a file that was named itself.
    number
        Its place among all inputs, from 1.
    """

    name: str
    inside: str = ""
    number: int = 1

    @property
    def folder(self) -> str:
        """The folder of ``{dir}``: of a file that was named itself its own, as far as it leads downwards."""
        parts = Path(self.name).parent.parts
        return self.inside or "/".join(part for part in parts if part not in ("..", os.sep))

    def output(self, request: Request, slugs: Sequence[str], format: Format) -> str:
        """Return the name of its output; ``slugs`` stand for kernels and pool.

        >>> from types import SimpleNamespace
        >>> from convcli.media.registry import FORMATS
        >>> asked = SimpleNamespace(output=None, out_dir=None, name="{dir}/{n:03}-{stem}.{kernel}.png")
        >>> Input("in/a.b.tif", "in", 7).output(asked, ["x", "y"], FORMATS[0])
        'in/007-a.b.x+y.png'
        >>> asked.name = None
        >>> Input("photos/a.b.png").output(asked, ["gaussian-sigma=2", "sobel"], FORMATS[0])
        'a.b.gaussian-sigma=2+sobel.png'
        """
        if request.output is not None:
            return request.output
        source, folder, template = opening.output_name(self.name, format), request.out_dir, request.name
        if source == STANDARD and folder is None and template is None:
            return STANDARD
        own = registry.own_suffix(source)
        suffix = own if own.lower() in format.suffixes else format.suffixes[0]
        stem, kernel = outputs.stem(source), "+".join(slugs)
        if template is None and not self.inside:
            return os.path.join(folder or "", f"{stem}.{kernel}{suffix}")  # noqa: PTH118  10,000 times
        inside = outputs.plain(self.inside if template is None else self.folder) or "."
        fields = {"dir": inside, "stem": stem, "kernel": kernel, "suffix": suffix, "n": self.number}
        return str((folder or Path()) / (template or TEMPLATE).format(**fields))


class Found:
    """All inputs of a command line.

    Attributes
    ----------
    inputs : list of Input
    several : str
        A folder or a pattern that was among what was named; empty where none was.
    failures : list of (str, ConvError)
        Folders that cannot be read, or hold nothing.
    """

    def __init__(self, names: Sequence[str], recursive: bool, out_dir: Path | None) -> None:
        self.inputs: list[Input] = []
        self.several = ""
        self.failures: list[tuple[str, ConvError]] = []
        self._recursive = recursive
        self._skipped: list[str] = []
        self._links: list[str] = []
        self._folders: list[str] = []
        self._out = identity(out_dir) if out_dir is not None else None
        for name in names:
            self._add(name)

    @property
    def notes(self) -> list[str]:
        """What is left out, in a line for each reason."""
        reasons = {
            ("file that cannot be read", "files that cannot be read"): self._skipped,
            (
                "link to a folder (links are not followed)",
                "links to folders (links are not followed)",
            ): self._links,
            ("folder inside (-r takes it)", "folders inside (-r takes them)"): self._folders,
        }
        return [
            f"left out {len(names)} {why[len(names) > 1]}: {shown(names[0])}" + ", ..." * (len(names) > 1)
            for why, names in reasons.items()
            if names
        ]

    def _add(self, name: str) -> None:
        folder, parts = _parts(name, self._recursive)
        if parts is None:
            self._take(name, "")
            return
        self.several = name
        if self._out is not None and identity(folder) == self._out:
            raise UsageError(
                "its outputs would lie among its files: name another folder", subject=shown(name)
            )
        before = len(self.inputs), len(self.failures)
        for path in dict.fromkeys(self._matching(folder, parts)):
            self._take(path, os.path.relpath(os.path.dirname(path) or ".", folder or "."))  # noqa: PTH120  10,000 times
        if (len(self.inputs), len(self.failures)) == before:
            self.failures.append((name, ConvError("it holds no file that can be read", subject=shown(name))))

    def _take(self, name: str, inside: str) -> None:
        self.inputs.append(Input(name, inside, len(self.inputs) + 1))

    def _matching(self, folder: str, parts: Sequence[str]) -> Iterator[str]:
        """Yield what a pattern in parts, one a folder, names within a folder."""
        part, *rest = parts
        try:
            entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
        except OSError as error:
            self.failures.append((folder, ConvError(unreadable(error), subject=shown(folder))))
            return
        if part == "**":
            yield from self._matching(folder, rest or ["*"])
        for entry in entries:
            path = os.path.join(folder, entry.name)  # noqa: PTH118  10,000 times
            if entry.name.startswith(".") and not part.startswith("."):
                continue
            if part != "**" and not fnmatchcase(entry.name, part):
                continue
            inner = _is(entry.is_dir) and not _is_one(path)
            if part == "**" or rest:
                if inner and identity(path) != self._out:
                    if part == "**" and entry.is_symlink():
                        self._links.append(path)
                    else:
                        yield from self._matching(path, parts if part == "**" else rest)
            elif inner:
                if parts == ["*"] and not self._recursive:
                    self._folders.append(path)
            elif _is(entry.is_dir) or (_is(entry.is_file) and _is_read(path)):
                yield path
            else:
                self._skipped.append(path)


def _parts(name: str, recursive: bool) -> tuple[str, list[str] | None]:
    """Return a folder and the pattern of the files in it that a name means; None where it is one input.

    A pattern in the last part alone is a clip, unless -r says otherwise.
    """
    if name == STANDARD or os.path.lexists(name):
        if not Path(name).is_dir() or _is_one(name):
            return name, None
        return name, ["**", "*"] if recursive else ["*"]
    parts = Path(name).parts
    wild = next((index for index, part in enumerate(parts) if re.search(r"[*?]|\[[^]]+\]", part)), len(parts))
    if wild == len(parts) or (wild == len(parts) - 1 and not recursive and "**" not in parts):
        return name, None
    return os.path.join("", *parts[:wild]), list(parts[wild:])  # noqa: PTH118


def _is_one(path: str) -> bool:
    """Return whether a folder is one input: a store, a series of slices."""
    try:
        registry.of_folder(Path(registry.parted(path)[0]))
    except ConvError:
        return False
    return True


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link in a circle
        return False


def identity(path: Path | str) -> tuple[int, int] | None:
    """Return what two names of one file have in common; None for none."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


@cache
def _known(suffix: str) -> bool:
    try:
        return bool(suffix) and bool(registry.readable(f"a{suffix}"))
    except UsageError:
        return False


def _is_read(path: str) -> bool:
    """Return whether a file in a folder is of a type that is read: by its suffix, else by its first bytes."""
    if _known(registry.own_suffix(path).lower()):
        return True
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return registry.is_signed(file.read(registry.HEAD))
    except OSError:
        return False
