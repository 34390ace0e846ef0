"""Pages that the documents take from elsewhere: README and its neighbours, the help of every command, the functions.

mkdocs calls the functions `on_…`.  Nothing made here is kept: the sources stay where they are.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from convcli import __all__ as functions

ROOT = Path(__file__).parents[1]
BORROWED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "licence.md",
    "benchmarks/results.md": "benchmarks.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for source, page in BORROWED.items():
        files.append(
            File.generated(config, page, content=borrowed((ROOT / source).read_text(encoding="utf-8")))
        )
    files.append(File.generated(config, "commands.md", content=commands()))
    files.append(File.generated(config, "api.md", content=api()))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Write pipes in the cells of tables as mkdocs reads them: in code they need no backslash, unlike elsewhere."""
    return re.sub(r"^\|.*$", lambda row: row[0].replace("\\|", "|"), markdown, flags=re.MULTILINE)


def on_page_content(html: str, **_: object) -> str:
    """Keep short options whole: browsers break lines after a hyphen."""
    return re.sub(r"<code>(-[^<]{1,24}</code>)", r'<code style="white-space: nowrap">\1', html)


def borrowed(text: str) -> str:
    """Return a text of the root with links as they are inside ``docs``."""
    for source, page in BORROWED.items():
        text = text.replace(f"]({source})", f"]({page})")
    return re.sub(r"\]\(docs/", "](", text)


def commands() -> str:
    """Return the help of every command, as the tests hold it."""
    parts = ["# Commands"]
    for path in sorted((ROOT / "tests" / "snapshots").glob("*.txt"), key=lambda path: path.stem.split("-")):
        parts.append(
            f"## {path.stem.replace('-', ' ')}\n\n```text\n{path.read_text(encoding='utf-8').strip()}\n```"
        )
    return "\n\n".join(parts)


def api() -> str:
    """Return the functions of the package, for mkdocstrings."""
    return "\n\n".join(["# Python", *(f"::: convcli.{name}" for name in functions)])
