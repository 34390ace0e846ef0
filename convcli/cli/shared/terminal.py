"""What a terminal shows, drawn by rich: help in panels, tables, a progress bar.

rich is loaded here alone, and only where there is a terminal: in a pipe everything is plain text, and starts as soon.
How far a job is stands on one line of stderr.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TextIO

from typer import Typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from convcli.cli.shared import terminal
from convcli.cli.shared.options import Progress
from convcli.common import printable, signals
from convcli.common.options import Panel

WIDTH = 80
_EPILOG = "Documents: docs/ in the source. Report problems with `convcli doctor`."
_EXAMPLES = 4  # of a short help
_ORDER = {panel: number for number, panel in enumerate(Panel)}

BETWEEN = 0.2  # seconds between two lines
PATIENCE = 1.0  # seconds of work before anything is shown


class Meter:
    """Shows progress; call it with what is done and the total, and perhaps the name of what is at work.

    Parameters
    ----------
    how : Progress
    what : str
        What is counted, such as ``frames``.
    """

    def __init__(self, how: Progress, what: str, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        if how is Progress.AUTO and not self._stream.isatty():
            how = Progress.NONE
        self._how, self._what = how, what
        self._begun = self._shown = time.monotonic()
        self._bar: terminal.Bar | None = None
        signals.add(self._leave)

    def __call__(self, done: int, total: int, name: str = "") -> None:
        now = time.monotonic()
        last = done == total
        if self._how is Progress.NONE or (now - self._shown < BETWEEN and not last):
            return
        rate = done / max(now - self._begun, 1e-9)
        left = (total - done) / rate if rate else 0.0
        self._shown = now
        if self._how is Progress.JSON:
            import json  # 1 ms that others need not wait for

            facts = {"done": done, "total": total, "unit": self._what, "per_second": round(rate, 2)}
            facts |= {"seconds_left": round(left, 2)} | ({"name": name} if name else {})
            print(json.dumps(facts), file=self._stream, flush=True)
        elif now - self._begun > PATIENCE or self._bar is not None:
            self._bar = self._bar or terminal.Bar(self._stream, self._what)
            self._bar.draw(done, total, rate, clock(left), printable(name))

    def hide(self) -> None:
        """Take the bar away until the next step, so that what is printed now stands alone."""
        if self._bar is not None:
            self._stream.write("\r\x1b[K")

    def close(self) -> None:
        """Take the bar away, so that notes stand alone."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        signals.discard(self._leave)

    def _leave(self) -> None:
        """Undo the bar where a signal came, past Python's streams: the signal may have come while they wrote."""
        if self._how is Progress.AUTO:
            os.write(self._stream.fileno(), terminal.Bar.UNDO)


def clock(seconds: float) -> str:
    """Return a time for a person.

    >>> clock(59.6), clock(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal."""
    return stream is not None and stream.isatty()


class Command(TyperCommand):
    """A command whose help stands in panels on a terminal."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more | {"epilog": _EPILOG})
        self._brief = getattr(self.callback, "brief", "").split()
        if self._brief:  # -h is a help of its own
            self.context_settings["help_option_names"] = ["--help"]

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, the short help among them."""
        more: dict[str, Any] = {"is_eager": True, "expose_value": False, "callback": self._print_brief}
        short: Any = TyperOption(
            param_decls=["-h"],
            help="Show the most used options.",
            is_flag=True,
            rich_help_panel=Panel.MESSAGES,
            **more,
        )
        *others, help = super().get_params(ctx)
        return [*others, *([short] if self._brief else []), help]

    def _print_brief(self, ctx: Any, _: Any, wanted: bool) -> None:
        """Print a page of plain text: what the command does, a few examples, the most used options."""
        if not wanted or ctx.resilient_parsing:
            return
        about, _, examples = (self.help or "").partition("Examples:\n")
        formatter = ctx.make_formatter()
        self.format_usage(ctx, formatter)
        formatter.write(f"\n  {about.strip().splitlines()[0]}\n\n")
        formatter.write("Examples:\n" + "\n".join(examples.splitlines()[:_EXAMPLES]) + "\n")
        every = {flag: param for param in self.params for flag in param.opts}
        with formatter.section("Options"):
            rows = [every[flag].get_help_record(ctx) or ("", "") for flag in self._brief]
            formatter.write_dl(
                [(name, re.split(r"(?<!\.)[.;] ", text)[0].rstrip(".")) for name, text in rows]
            )
        count = sum(param.param_type_name == "option" for param in self.params)
        formatter.write(f"\nAll {count} options: {ctx.command_path} --help\n")
        print(formatter.getvalue(), end="")
        ctx.exit()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _prepare(self)
        super().format_help(ctx, formatter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return arguments without the braces that Typer puts around those that are required."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def get_help_option(self, ctx: Any) -> Any:
        option: Any = super().get_help_option(ctx)
        option.rich_help_panel = Panel.MESSAGES
        return option


class Group(TyperGroup):
    """Commands whose list stands in a panel on a terminal."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _prepare(self)
        for child in self.commands.values():
            _prepare(child)
        super().format_help(ctx, formatter)


def group(name: str, help: str) -> Typer:
    """Return a command of several commands."""
    return Typer(
        cls=Group,
        name=name,
        help=help,
        epilog=_EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,
    )


def _prepare(command: Any) -> None:
    """Have rich draw a command's help: its texts mean what they say, and panels come in their order."""
    if not is_terminal(sys.stdout) or command.rich_markup_mode is not None:
        return
    from rich.markup import escape

    command.rich_markup_mode = "rich"
    # An empty style keeps the indentation of the first line of a block.
    command.help = escape(command.help or "").replace("\b\n", "[b][/b]")
    for parameter in command.params:
        parameter.help = escape(parameter.help or "")
    command.params.sort(key=lambda parameter: _ORDER.get(parameter.rich_help_panel, -1))


class Table(NamedTuple):
    """Rows of a report; the first is the header. A table on a terminal that is wide enough, else plain text.

    Attributes
    ----------
    rows
    align
        ``<`` or ``>`` for each column, the last sign for all further ones.
    wrap
        Whether the last column may take several lines on a terminal.
    fit
        In plain text, shortens a text of the last column to this many characters.
    """

    rows: Sequence[Sequence[str]]
    align: str = "<"
    wrap: bool = False
    fit: Callable[[str, int], str] | None = None

    def sign(self, column: int) -> str:
        """Return at which side of its room a column stands."""
        return self.align[min(column, len(self.align) - 1)]

    def lines(self) -> list[str]:
        """Return the table as plain text."""
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        rows = self.rows
        if self.fit is not None:
            room = WIDTH - sum(widths[:-1]) - 2 * len(widths[:-1])
            rows = [(*row[:-1], self.fit(row[-1], room)) for row in rows]
        return [
            "  ".join(f"{cell:{self.sign(i)}{widths[i]}}" for i, cell in enumerate(row)).rstrip()
            for row in rows
        ]

    def print(self, stream: TextIO) -> None:
        """Print the table as fits a stream."""
        if not (is_terminal(stream) and self._draw(stream)):
            print(*self.lines(), sep="\n", file=stream)

    def _draw(self, stream: TextIO) -> bool:
        """Draw the table; return False, having printed nothing, where it is too wide."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table as Drawn
        from rich.text import Text

        console = Console(file=stream, highlight=False)
        table = Drawn(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
        for index, (name, *cells) in enumerate(zip(*self.rows, strict=True)):
            wraps = self.wrap and index == len(self.rows[0]) - 1
            least = None if wraps else max(map(len, (name, *cells)))
            justify: Any = "left" if self.sign(index) == "<" else "right"
            table.add_column(Text(name), justify=justify, no_wrap=not wraps, min_width=least)
        if table.__rich_measure__(console, console.options).minimum > console.width:
            return False
        for row in self.rows[1:]:
            table.add_row(*map(Text, row))
        console.print(table)
        return True


class Bar:
    """A progress line, redrawn with every step; the cursor is hidden meanwhile."""

    UNDO = b"\r\x1b[K\x1b[?25h"  # clears the line and shows the cursor, for a process that leaves at once

    def __init__(self, stream: TextIO, unit: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        facts = "{task.completed}/{task.total} {task.description}, {task.fields[rate]:.1f}/s, {task.fields[left]} left"
        facts += " {task.fields[name]}"
        self._progress = Progress(
            BarColumn(24),
            TextColumn(facts, markup=False),
            console=Console(file=stream),
            auto_refresh=False,  # no thread: steps come often enough
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(unit, total=None, rate=0.0, left="", name="")

    def draw(self, done: int, total: int, rate: float, left: str, name: str = "") -> None:
        begun = self._progress.live.is_started  # before, the bar would show a total of None
        self._progress.update(
            self._task, completed=done, total=total, rate=rate, left=left, name=name, refresh=begun
        )
        self._progress.start()

    def close(self) -> None:
        self._progress.stop()


def aligned(cells: Sequence[str], shape: Sequence[int]) -> Iterator[str]:
    """Yield rows of cells; a blank line between the planes of a volume."""
    width, across = max(map(len, cells)), shape[-1]
    for start in range(0, len(cells), across):
        if len(shape) > 2 and start and start % (across * shape[-2]) == 0:
            yield ""
        yield "  ".join(f"{cell:>{width}}" for cell in cells[start : start + across])
