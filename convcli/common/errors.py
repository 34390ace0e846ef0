"""The errors of every wing: one line for the person, one exit code for the shell.

An error keeps its subject apart from its message, so that the caller who knows the subject (the file that is read,
the kernel, the layer) can add it further out, and no name is printed twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager

_SPACES = "\u00a0\u2009\u202f\u3000"  # that do not break lines, or are wide


def printable(text: str, keep: str = "") -> str:
    """Return a text with line breaks and control characters made visible, but for those to ``keep``.

    >>> printable("a\\nb"), printable("\\x1b[2J\\n", keep="\\n")
    ('a\\\\nb', '\\\\x1b[2J\\n')
    """
    if text.isprintable():
        return text
    keep += _SPACES
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


class ConvError(Exception):
    """The work failed: a file, its data, or a resource.

    Parameters
    ----------
    problem : str
        What is wrong and what to do, in one line, without the subject.
    subject : str
        What it is about, as it is printed: ``'photo.png'``, ``kernel 'hedge'``, ``layer 2 (conv:5)``; empty where
        that is not known yet.

    Attributes
    ----------
    exit_code : int
        What the command exits with.
    """

    exit_code = 1

    def __init__(self, problem: str, *, subject: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.subject = subject

    def __str__(self) -> str:
        """Return the subject and the problem.

        >>> str(ConvError("no such file", subject="'a.png'"))
        "'a.png': no such file"
        """
        return f"{self.subject}: {self.problem}" if self.subject else self.problem


class NoPicturesError(ConvError):
    """A container of clips holds none; it may hold sound."""


class UsageError(ConvError, ValueError):
    """The command line, an argument or a kernel's text is at fault (exit code 2)."""

    exit_code = 2


def unreadable(error: OSError) -> str:
    """Say why a file cannot be read.

    >>> unreadable(FileNotFoundError(2, "No such file or directory"))
    'no such file'
    """
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder; name a file in it"
    return f"cannot be read: {error.strerror or error}"


@contextmanager
def about(subject: str) -> Iterator[None]:
    """Give the errors of this block a subject, where they have none.

    >>> with about("'a.png'"):
    ...     raise ConvError("no such file")
    Traceback (most recent call last):
    convcli.common.errors.ConvError: 'a.png': no such file
    """
    try:
        yield
    except ConvError as error:
        error.subject = error.subject or subject
        raise


@contextmanager
def within(whole: str) -> Iterator[None]:
    """Say in the errors of this block what their subject is a part of.

    >>> with within("'net.yaml'"), within("layer 2 (conv)"):
    ...     raise UsageError("size is needed")
    Traceback (most recent call last):
    convcli.common.errors.UsageError: 'net.yaml': layer 2 (conv): size is needed
    """
    try:
        yield
    except ConvError as error:
        error.subject = f"{whole}: {error.subject}" if error.subject else whole
        raise
