"""The entry of the command: registers the commands, turns every failure into one line and an exit code."""

from __future__ import annotations

import gc
import importlib
import signal
import sys
import traceback
from collections.abc import Iterable
from types import FrameType
from typing import Annotated

import typer

from convcli.cli.report import one_line
from convcli.errors import ConvError

INTERRUPTED = 130
CLOSED_PIPE = 141
TERMINATED = 143

COMMANDS = {  # in the order of the help
    "filter": "convcli.cli.filter:filter_files",
    "motion": "convcli.cli.motion:motion",
    "shape": "convcli.cli.shape:shape",
    "matrix": "convcli.cli.matrix:matrix",
    "explain": "convcli.cli.explain:explain",
    "net": "convcli.cli.net:app",
    "learn": "convcli.cli.learn:learn",
    "kernels": "convcli.cli.kernels:app",
}


def build(names: Iterable[str]) -> typer.Typer:
    """Return the program with these commands: one that is not called is neither imported nor built."""
    app = typer.Typer(
        name="convcli",
        help="Convolution on real files: exact, explained, fast.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_options)
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"convcli {version('convcli')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Convolution on real files: exact, explained, fast."""


# Typer carries its own copy of Click: its errors are reached through Typer, never by importing a second Click.
_ClickException: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
_NoArguments: type[Exception] = sys.modules[_ClickException.__module__].NoArgsIsHelpError


def _fail(text: str, code: int) -> int:
    print(f"convcli: {one_line(text)}", file=sys.stderr)
    return code


def _usage(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    where = f" (see `{context.command_path} --help`)" if context is not None else ""
    text: str = error.format_message()  # type: ignore[attr-defined]
    return f"{text.rstrip('.')}{where}"


def _closed_pipe() -> int:
    """Whoever read our output has left: nothing to say, and nothing more to write."""
    sys.stdout = None  # at exit Python would try to write the rest once more, and complain
    return CLOSED_PIPE


def _explained(error: Exception) -> tuple[str, int]:
    """Return the line and the exit code for a failure."""
    if isinstance(error, ConvError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError):
        return "not enough memory for this job", 1
    if isinstance(error, OSError):
        return f"{error.filename!r}: {error.strerror}" if error.filename else str(error.strerror or error), 1
    return f"internal error: {type(error).__name__}: {error} (--debug shows where; please report it)", 1


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code.

    0: done; 1: the work failed; 2: the command line is at fault.  With ``--debug`` (an option of every
    command) errors keep their traceback.
    """
    known = arguments and arguments[0] in COMMANDS
    try:
        result = build(arguments[:1] if known else COMMANDS)(arguments, standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _closed_pipe()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # Click makes an exit of it
            return _closed_pipe()
        raise
    except _NoArguments as error:
        print(error.format_message(), file=sys.stderr)  # type: ignore[attr-defined]  # the help text
        return 2
    except _ClickException as error:
        return _fail(_usage(error), 2)
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        return _fail(*_explained(error))
    return result if isinstance(result, int) else 0


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def main() -> None:
    gc.set_threshold(
        50_000
    )  # a start makes many objects and no garbage: 5 % of a small job's time (measured)
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
