"""An option is declared once: as a field of a frozen record, with its help, its parser and its panel.

    @frozen
    class Settings:
        stride: tuple[int, ...] | None = option("Step of the window.", read=numbers)

An option of several records is what `shared` returns: ``force = shared("Overwrite.", default=False)``, and then
``force: bool = options.force()``, or with a help of its own.  A record may hold other records as a `group`.
Core, media and commands share such records.  `convcli.cli.shared.command` makes a command line of them; nothing here
knows a shell.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any, NamedTuple


class Panel(StrEnum):
    """Titles of the help on a terminal, in their order."""

    KERNEL = "Kernel"
    WINDOW = "Window and edges"
    VALUES = "Values and range"
    TABLES = "Tables"
    MOTION = "Motion"
    NET = "Net"
    TRAINING = "Training"
    CLIPS = "Clips"
    OUTPUT = "Output"
    SPEED = "Speed"
    MESSAGES = "Messages"


class Option(NamedTuple):
    """What the command line knows of a field.

    Attributes
    ----------
    help
    flags
        ``--name`` and perhaps a letter; by default the field's name.
    panel
        By default that of the record, its attribute ``panel``, else Output.
    read
        Makes the field's value of what is written; by default the field's type says it: texts, numbers, numbers for
        each axis, paths, flags, the names of an enum.  It is not called for an option that is not given.
    least, most
        Limits of a number, or of each of several.
    takes
        What ``read`` expects: text, or the number or flag that the command line checks first.
    shown
        What stands in the command line by default, where the field's own default is not written that way.
    metavar
    complete
        What the shell offers: words, or a function that makes them of the beginning of a value (and of the command
        line, called ``ctx``).  Names of an enum are offered anyway.
    variable
        Of the environment: the default for a shell.
    is_argument
        Whether it has no name, and is known by its place.
    """

    help: str
    flags: tuple[str, ...] = ()
    panel: Panel | None = None
    read: Callable[[Any], Any] | None = None
    least: float | None = None
    most: float | None = None
    takes: type = str
    shown: Any = None
    metavar: str | None = None
    complete: Callable[..., list[str]] | tuple[str, ...] = ()
    variable: str | None = None
    is_argument: bool = False


def option(help: str, *flags: str, default: Any = None, **more: Any) -> Any:
    """Return a field that is an option; ``more`` is as `Option` takes it.

    ``...`` is no default: the option must be given.  With ``shown`` and no other default the command line always gives
    a value, and the field has none of its own.
    """
    made = Option(help, flags, **more)
    given = default is ... or (default is None and made.shown is not None)
    return _field(made) if given else _field(made, default=default)


def shared(help: str, *flags: str, default: Any = None, **more: Any) -> Callable[..., Any]:
    """Return what makes fields of one option for several records, which may give it another help or default."""

    def made(help: str = help, default: Any = default) -> Any:
        return option(help, *flags, default=default, **more)

    return made


def flag(help: str, *flags: str, panel: Panel | None = None) -> Any:
    """Return a field that is an option without a value: False where it is not given."""
    return option(help, *flags, default=False, panel=panel)


def argument(
    help: str, *, metavar: str, complete: Callable[..., list[str]] | None = None, **default: Any
) -> Any:
    """Return a field that is known by its place in the command line, with a ``default`` or without."""
    return _field(Option(help, metavar=metavar, complete=complete or (), is_argument=True), **default)


class Group(NamedTuple):
    """Which options of a nested record a command offers, by the names of fields, and its own help for some.

    Attributes
    ----------
    only
        All by default.
    help
        In place of the record's own.
    """

    only: tuple[str, ...] = ()
    help: Mapping[str, str] = {}


def group(*only: str, **help: str) -> Any:
    """Return a field that is a record of options, as `Group` says."""
    return _field(Group(only, help))


def _field(offered: Option | Group, **default: Any) -> Any:
    return field(metadata={"offered": offered}, **default)
