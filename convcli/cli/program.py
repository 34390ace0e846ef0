"""The program: registers the commands, runs one, and turns every failure into one line and an exit code."""

import importlib
import os
import re
import sys
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

import typer

import convcli
from convcli.cli.shared import report, terminal
from convcli.common import plugins

INTERRUPTED, CLOSED_PIPE = 130, 141  # 128 and the signal's number, as in a shell


class Command(NamedTuple):
    """Which record of options a command is, and what it does in a few words: the list of all loads none of them."""

    place: str
    summary: str


COMMANDS = {  # in the order of the help
    "filter": Command("filter.request.Request", "Filter images, clips, signals and arrays with kernels."),
    "motion": Command("motion.request.Request", "Find motion in a clip: when, where, and how much."),
    "shape": Command("shape.Request", "Work out sizes, receptive fields and parameters of layers."),
    "matrix": Command("matrix.request.Request", "Write a convolution as a matrix."),
    "explain": Command("explain.request.Request", "Take one output value apart: taps, products, sum."),
    "net": Command("net.request.COMMANDS", "Run, show and check chains of layers."),
    "learn": Command("learn.request.Request", "Learn kernels from examples."),
    "kernels": Command("kernels.COMMANDS", "List the kernel library, or show what one kernel is like."),
    "job": Command("job.Request", "Show how far a large job is; verify or end it."),
    "doctor": Command("doctor.Request", "Say what is installed, where documents are, where to report."),
}
OVERVIEW: tuple[list[str], ...] = ([], ["--help"], ["-h"], ["--version"], ["-V"])


def _program() -> typer.Typer:
    app = typer.Typer(
        name="convcli",
        cls=terminal.Group,
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
    for name, (_, summary) in COMMANDS.items():
        app.command(name, help=summary, cls=terminal.Command)(_nothing)
    return app


def _nothing() -> None:
    """Stand in for a command that is only named."""


def build(names: Iterable[str], **more: Any) -> typer.Typer:
    """Return the program with these commands: one that is not called is neither imported nor built.

    ``more`` are fields of the request that no option says.
    """
    app = _program()
    from convcli.cli.shared.command import command

    for name in names:
        module, _, attribute = COMMANDS[name].place.rpartition(".")
        found = getattr(importlib.import_module(f"convcli.cli.{module}"), attribute)
        if isinstance(found, tuple):  # the help of several commands, and their records
            group = terminal.group(name, found[0])
            for word, record in found[1].items():
                group.command(word, cls=terminal.Command)(command(record, **more))
            app.add_typer(group, name=name)
        else:
            app.command(name, cls=terminal.Command)(command(found, **more))
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"convcli {convcli.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("-V", "--version", callback=_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Convolution on real files: exact, explained, fast."""


# Typer carries its own copy of Click: its errors are reached through Typer, never by importing a second Click.
_ClickException: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
_NoArguments: type[Exception] = sys.modules[_ClickException.__module__].NoArgsIsHelpError


_ELSEWHERE = {  # options that a command has no meaning for, or has under another name
    "animate": "explain --animate FILE.gif shows the window at work",
    "border": "--pad-mode says what lies outside",
    "f": "use -y (--force)",
    "gray": "use --channels grey",
    "jobs": "use --threads, and --workers for a large job",
    "min-weight": "--missing skip:0.5 asks for samples under half of the weights",
    "mode": "--pad-mode says what lies outside, --padding how much of it",
    "nan": "use --missing",
    **dict.fromkeys(("normalise", "normalize"), "use --scale normalise"),
    "overwrite": "use -y (--force)",
    "pad": "--padding says how much, --pad-mode what lies outside",
    "preview": "filter --dry-run --plot - draws input and result in the terminal",
    "roi": "use --region",
    "scheduler": "--workers tcp://HOST:8786 names a Dask scheduler",
    "along": "weights by distance differ from row to row: filter --along time computes with them",
    "plan": "filter --dry-run -v says which engine and algorithm are chosen, and why",
    "show": "filter --plot - draws input and result in the terminal, with --dry-run without writing",
    "interpolate": "a matrix takes samples that are there: filter -k identity --interpolate fills the others",
}


def _usage(error: Exception, arguments: list[str]) -> str:
    context = getattr(error, "ctx", None)
    where = f" (see `{context.command_path} --help`)" if context is not None else ""
    text: str = error.format_message()  # type: ignore[attr-defined]
    word = re.match(r"No such option: -{1,2}([a-z-]+)", text)
    if word and word[1] in _ELSEWHERE:
        text = f"no {word[0].split()[-1]} here: {_ELSEWHERE[word[1]]}"
    elif word and (kernel := _parameter(word[1], arguments)):
        text = f"--{word[1]} belongs to the kernel: -k {kernel}"
    elif word := re.match(r"No such command '([\w-]+)'", text):
        text = _meant(word[1], arguments) or text
    text = re.sub(r" \(Possible options: (.*)\)$", r"; did you mean \1?", text)
    text = text.replace("not a valid int", "not a whole number").replace("not a valid float", "not a number")
    return f"{text.rstrip('.')}{where}"


_USUAL = {"sigma": "gaussian", "size": "box"}  # whose parameter a name is, first of all


def _parameter(name: str, arguments: list[str]) -> str | None:
    """Return a kernel that has this parameter, with the value that was given."""
    from convcli.kernel.parametric import FORMULAS

    found = (kernel for kernel, formula in FORMULAS.items() if name in formula.parameters)
    kernel = _USUAL.get(name) or next(found, None)
    if kernel is None:
        return None
    given = re.search(rf"(?:^|\n)--{name}[=\n]([\w.+/-]+)", "\n".join(arguments))
    return f"{kernel}:{name}={given[1] if given else FORMULAS[kernel].parameters[name]}"


def _meant(name: str, others: list[str]) -> str:
    """Return the command of ``filter`` that a kernel's name, or an everyday word for one, in its place means."""
    from convcli.kernel import everyday

    kernel = everyday(name)
    if others[0] == "kernels" or name in ("show", "list"):
        return f"no command '{name}'; `convcli kernels show {kernel or 'NAME'}` shows one, `kernels list` names all"
    file = next((other for other in others[1:] if not other.startswith("-")), "INPUT")
    return (
        f"no command '{name}'; a kernel is given to filter: convcli filter {file} -k {kernel}"
        if kernel
        else ""
    )


def _closed_pipe() -> int:
    """The reader of our output has closed the pipe: say nothing and write nothing more."""
    sys.stdout = None  # at exit Python would try to write the rest once more, and complain
    return CLOSED_PIPE


def run(arguments: list[str], **more: Any) -> int:
    """Run one command line and return its exit code; ``more`` as in `build`.

    0: done; 1: the work failed; 2: the command line is at fault.  With ``--debug`` (an option of every
    command) errors keep their traceback.
    """
    known = arguments and arguments[0] in COMMANDS
    try:
        short = arguments in OVERVIEW and "_CONVCLI_COMPLETE" not in os.environ  # the words of that are there
        program = overview() if short else build(arguments[:1] if known else COMMANDS, **more)
        result = program(arguments, standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _closed_pipe()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # Click makes an exit of it
            return _closed_pipe()
        if broken := plugins.blamed(error):
            report.error(str(broken))
            return broken.exit_code
        raise
    except _NoArguments as error:
        if text := error.format_message():  # type: ignore[attr-defined]  # the help; nothing where rich drew it
            print(text, file=sys.stderr)
        return 2
    except _ClickException as error:
        report.error(_usage(error, arguments))
        return 2
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of Polars
            raise
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
        text, code = report.explained(error)
        report.error(text)
        return code
    return result if isinstance(result, int) else 0
