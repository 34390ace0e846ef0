"""The entry of the command: registers the commands, turns every failure into one line and an exit code."""

import gc

# A start makes 50,000 objects and no garbage: looking for it takes 20 ms, a tenth of a small job (measured).
gc.set_threshold(200_000)

try:
    import importlib
    import os
    import signal
    import sys
    import traceback
    from collections.abc import Iterable
    from typing import Annotated, NamedTuple, NoReturn

    import typer

    from convcli.cli.shared.report import one_line, speak_plainly
    from convcli.common.errors import ConvError
    from convcli.common.signals import leave_on
except KeyboardInterrupt:  # a good part of a small job's time goes by here
    raise SystemExit(130) from None
except RuntimeError as error:  # what Python 3.11 makes of it where the members of an enum are being made
    if isinstance(error.__cause__, KeyboardInterrupt):
        raise SystemExit(130) from None
    raise

INTERRUPTED = 130
CLOSED_PIPE = 141
TERMINATED = 143
HUNG_UP = 129


class Command(NamedTuple):
    """Where a command is, and what it does in a few words: the list of all is shown without loading them."""

    module: str
    attribute: str
    summary: str


COMMANDS = {  # in the order of the help
    "filter": Command(
        "filter.command", "filter_files", "Filter images, clips, signals and arrays with kernels."
    ),
    "motion": Command("motion.command", "motion", "Find motion in a clip: when, where, and how much."),
    "shape": Command("shape", "shape", "Work out sizes, receptive fields and parameters of layers."),
    "matrix": Command("matrix.command", "matrix", "Write a convolution as a matrix."),
    "explain": Command("explain.command", "explain", "Take one output value apart: taps, products, sum."),
    "net": Command("net.command", "app", "Run, show and check chains of layers."),
    "learn": Command("learn.command", "learn", "Learn kernels from examples."),
    "kernels": Command("kernels", "app", "List the kernel library, or show what one kernel is like."),
}
OVERVIEW = (["--help"], ["-h"], ["--version"])


def _program() -> typer.Typer:
    app = typer.Typer(
        name="convcli",
        help="Convolution on real files: exact, explained, fast.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_options)
    return app


def overview() -> typer.Typer:
    """Return the program with nothing but the names of its commands, for its help."""
    app = _program()
    for name, (_, _, summary) in COMMANDS.items():
        app.command(name, help=summary)(_nothing)
    return app


def _nothing() -> None:
    """Stand in for a command that is only named."""


def build(names: Iterable[str]) -> typer.Typer:
    """Return the program with these commands: one that is not called is neither imported nor built."""
    app = _program()
    for name in names:
        module, attribute, _ = COMMANDS[name]
        command = getattr(importlib.import_module(f"convcli.cli.{module}"), attribute)
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
        program = overview() if arguments in OVERVIEW else build(arguments[:1] if known else COMMANDS)
        result = program(arguments, standalone_mode=False)
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


def main() -> NoReturn:
    """Run the command line of this process.

    Nothing is left to do once it is done, every file closed and in its place: Python's own way out, which takes
    everything apart first, is a tenth of a small job's time (measured).
    """
    # Blocks share the cores, and numpy starts in half the time without threads of its own.
    if sys.argv[1:2] != ["learn"]:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name, number in (("SIGTERM", TERMINATED), ("SIGINT", INTERRUPTED), ("SIGHUP", HUNG_UP)):
        told = getattr(signal, name, None)  # Windows has no SIGHUP
        if told is not None and signal.getsignal(told) is not signal.SIG_IGN:  # as under nohup, and stays
            leave_on(told, number)
    if sys.stderr is None:  # it was closed: there is nobody to talk to
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    speak_plainly()
    code = run(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
