"""A record of options becomes a command line: Typer's signature is made of its fields, and values are read back."""

import importlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import typer

from convcli.common import UsageError, in_range, parse_choice, parse_float, parse_numbers
from convcli.common.options import Group, Option, Panel

_KEYWORD = inspect.Parameter.KEYWORD_ONLY


@cache
def command(record: type, **more: Any) -> Callable[..., Any]:
    """Make a command of a record of options; its docstring is the help.

    Its attribute ``work`` names the function that does the work, as ``module.function`` of `convcli.cli`, which loads
    once the command line makes sense; ``brief`` the options of the short help.  A field ``given`` gets the flags that
    stand in the command line; ``more`` are other fields that no option says.
    """
    group = _Group(record, Group())
    leaves = list(group.leaves())
    asks = any(field.name == "given" for field in fields(record))

    def run(context: typer.Context | None = None, **raw: Any) -> Any:
        request = group.read(raw, **({"given": given(context, leaves)} if context else {}), **more)
        module, _, name = request.work.rpartition(".")
        return getattr(importlib.import_module(f"convcli.cli.{module}"), name)(request)

    # Typer's wrapper and the context refer to each other, and so keep each other: only who asks gets it.
    parameters = [inspect.Parameter("context", _KEYWORD, annotation=typer.Context)] if asks else []
    parameters += (leaf.parameter() for leaf in leaves)
    run.__doc__, run.__annotations__ = record.__doc__, {}
    run.brief = getattr(record, "brief", "")  # type: ignore[attr-defined]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def given(context: typer.Context, leaves: "Iterable[_Leaf]") -> list[str]:
    """Return the flags that stand in a command line, in the order of the help."""
    sources = ((leaf.flag, context.get_parameter_source(leaf.name)) for leaf in leaves)
    return [flag for flag, source in sources if source is not None and source.name == "COMMANDLINE"]


def flags(record: type) -> list[str]:
    """Return the flags of a record's options."""
    return [leaf.flag for leaf in _Group(record, Group()).leaves()]


class _Group:
    """The options of a record, those of nested records in their places."""

    def __init__(self, record: type, group: Group) -> None:
        self._record = record
        self._parts: dict[str, _Group | _Leaf] = {}
        for field in fields(record):
            kind: Any = field.type
            offered = field.metadata.get("offered")
            if isinstance(offered, Option):
                if group.only and field.name not in (*group.only, *group.help):
                    continue
                help = group.help.get(field.name, offered.help)
                usual: Panel = getattr(record, "panel", Panel.OUTPUT)
                panel = offered.panel or usual
                self._parts[field.name] = _Leaf(field.name, kind, field.default, offered, help, panel)
            elif hasattr(kind, "__dataclass_fields__"):
                self._parts[field.name] = _Group(kind, offered or group)

    def leaves(self) -> "Iterator[_Leaf]":
        for part in self._parts.values():
            yield from part.leaves()

    def read(self, raw: Mapping[str, Any], **more: Any) -> Any:
        return self._record(**{name: part.read(raw) for name, part in self._parts.items()}, **more)


class _Leaf:
    """One option: how it is written, and the value that it gives."""

    def __init__(self, name: str, kind: Any, default: Any, option: Option, help: str, panel: Panel) -> None:
        self.name, self._option, self._default, self._help, self._panel = name, option, default, help, panel
        self._flags = option.flags or (f"--{name.replace('_', '-')}",)
        self.flag = str(option.metavar) if option.is_argument else self._flags[0]
        if isinstance(kind, UnionType):
            kind = next(one for one in get_args(kind) if one is not NoneType)
        self._read, takes = option.read, option.takes
        if self._read is None:
            self._read, takes = _by_type(kind, self.flag, option)
        offered = option.complete
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            offered = offered or tuple(kind)
        self._metavar = option.metavar or _placeholder(kind, self._flags[0], takes)
        self._complete = _beginning(offered) if isinstance(offered, tuple) else offered
        self._written = option.shown
        if option.shown is not None:
            takes = type(option.shown)
        elif isinstance(default, StrEnum):
            self._written = str(default)
        elif isinstance(default, float) and option.read is None:
            self._written = f"{default:g}"
        elif isinstance(default, tuple) and default:
            self._written = ",".join(map(str, default))
        elif (default is MISSING or option.read is None) and default != ():
            self._written = default
        self._takes = takes if self._written is not None else takes | None

    def parameter(self) -> inspect.Parameter:
        option, default = self._option, ... if self._written is MISSING else self._written
        common: dict[str, Any] = {
            "help": self._help,
            "metavar": self._metavar,
            "autocompletion": self._complete,
            "rich_help_panel": None if option.is_argument else self._panel,
        }
        if option.is_argument:
            made = typer.Argument(default, **common)
        else:
            made = typer.Option(default, *self._flags, envvar=option.variable, **common)
        return inspect.Parameter(self.name, _KEYWORD, default=made, annotation=self._takes)

    def leaves(self) -> "Iterator[_Leaf]":
        yield self

    def read(self, raw: Mapping[str, Any]) -> Any:
        value = raw[self.name]
        if value is None or value == []:
            return self._default
        try:
            return value if self._read is None else self._read(value)
        except UsageError as error:
            variable = self._option.variable
            if variable and os.environ.get(variable) == str(value):
                raise UsageError(f"{variable}: {error}") from None
            raise


_WIDEST = 10  # of choices that stand in the help beside a flag: others are told in its text


def _placeholder(kind: Any, flag: str, takes: Any) -> str | None:
    """Return what the help shows for a value: the choices, where they are few and short, or what it is."""
    if takes is bool:
        return None
    choices = "|".join(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else ""
    if 0 < len(choices) <= _WIDEST:
        return choices
    words = {int: "N", Path: "DIR" if flag.endswith("-dir") else "FILE"}
    return words.get(takes, flag.rpartition("-")[2].upper())


def _beginning(words: tuple[str, ...]) -> Callable[[str], list[str]] | None:
    """Return what finds the words that begin as a value does; None without words."""

    def complete(incomplete: str) -> list[str]:  # Typer asks for its signature, which a partial has not
        return [str(word) for word in words if word.startswith(incomplete)]

    return complete if words else None


def _by_type(kind: Any, flag: str, option: Option) -> tuple[Callable[[Any], Any] | None, Any]:
    """Return how a value of a type is read, if it is, and what the command line makes of it before."""
    least = 1 if option.least is None else int(option.least)
    limited = partial(in_range, what=flag, least=option.least, most=option.most)
    if kind == tuple[int, ...]:
        return partial(parse_numbers, what=flag, minimum=least), str
    if get_origin(kind) is tuple:
        return tuple, list[str]
    if issubclass(kind, StrEnum):
        return partial(parse_choice, kind, what=flag.lstrip("-")), str
    if kind is float:
        return lambda text: limited(parse_float(text, flag)), str
    return (limited if kind is int else None), kind
