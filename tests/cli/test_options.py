"""Options over all commands: one name has one meaning, printed defaults are true, and their number does not grow."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from convcli.cli.program import COMMANDS, build, run
from tests.clips import make
from tests.shell import SAMPLES

PACKAGE = Path(__file__).parents[2] / "convcli"


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the commands that do something, with their words."""
    children = getattr(command, "commands", {})
    for name, child in children.items():
        yield from walk(child, (*path, name))
    if not children:
        yield path, command


ALL = dict(walk(typer.main.get_command(build(COMMANDS))))


def options_of(command: tuple[str, ...]) -> list[Any]:
    return [one for one in ALL[command].params if one.param_type_name == "option"]


MEANING = {
    "--allow-truncated": "keep what can be read of a broken clip",
    "--along": "axis of shifts, or of distances",
    "--animate": "file of an animation",
    "--as": "another reading of a table",
    "--at": "place of an output value",
    "--axes": "letters of an array's dimensions",
    "--axis": "axes that a kernel slides along",
    "--batch": "examples in one step",
    "--bias": "constant added to the result",
    "--block": "rows of output computed at a time",
    "--channel": "number of a channel of the input",
    "--channels": "what a one-channel kernel does with several channels",
    "--checkpoint": "file of a training's state",
    "--codec": "encoder of a clip",
    "--columns": "columns of a table",
    "--compare": "what other frameworks give",
    "--count": "maps of a grid",
    "--crf": "constant quality of a clip",
    "--cut": "folder for a clip of each event",
    "--curve": "file of a training's losses",
    "--debug": "keep the traceback of an error",
    "--denoise": "frames of a mean against noise",
    "--device": "processor or graphics card",
    "--dilation": "distance between taps",
    "--dry-run": "say what would be done",
    "--each": "an output for each kernel",
    "--dtype": "type of the arithmetic",
    "--engine": "what computes",
    "--epochs": "how often all examples are seen",
    "--events": "file of a clip's events",
    "--exit-code": "exit code as of grep",
    "--flip": "true convolution",
    "--force": "overwrite existing outputs",
    "--format": "type of the output",
    "--fps": "frames a second of what carries no time",
    "--frames": "how much of an animation is read",
    "--gradcheck": "show gradients",
    "--header": "whether a table's first line holds names",
    "--heatmap": "picture of all motion",
    "--help": "show the help",
    "--ignore": "part of the picture not to look at",
    "--input": "size of the input",
    "--json": "report as JSON",
    "--keep-saturated": "count black and white pixels of a target",
    "--kernel": "a kernel",
    "--kernel-size": "size of the kernel of one layer",
    "--labels": "true classes of the inputs",
    "--layer": "a layer of a net",
    "--loss": "what training makes small",
    "--lr": "learning rate",
    "--map": "number of an output of a bank",
    "--maps": "picture of feature maps",
    "--max-frames": "most frames of a clip",
    "--max-pixels": "most pixels decoded whole, in millions",
    "--merge-gap": "stillness that does not end an event",
    "--min-area": "smallest motion",
    "--min-duration": "shortest event",
    "--minimum-norm": "the smallest of equally good kernels",
    "--momentum": "share of the last step that is kept",
    "--missing": "what a missing sample does",
    "--mask": "file that says which samples are missing",
    "--interpolate": "fill missing samples first",
    "--name": "template of outputs' names",
    "--net": "a net",
    "--no-audio": "leave out sound",
    "--no-bias": "learn no constant",
    "--no-output": "write no clip",
    "--num-classes": "number of classes of a net",
    "--optimizer": "how a gradient becomes a step",
    "--out-dir": "folder of outputs",
    "--output": "file of the output",
    "--output-padding": "extra elements of a transposed convolution",
    "--overlay": "draw over the original",
    "--pad-mode": "what lies outside the data",
    "--pad-value": "constant outside the data",
    "--padding": "amount of padding",
    "--patience": "epochs without improvement",
    "--pix-fmt": "pixel format of a clip",
    "--pool": "a pool",
    "--preset": "speed of an encoder",
    "--progress": "how progress is shown",
    "--rate": "samples a second, for frequencies in Hz",
    "--quality": "quality of a lossy picture, or how hard a lossless writer tries",
    "--quiet": "no notes",
    "--range": "how numbers become pixels",
    "--raw-times": "time stamps as they are",
    "--recursive": "folders with all folders in them",
    "--region": "part of the picture",
    "--resume": "checkpoint to go on from",
    "--seed": "seed of random numbers",
    "--shifts": "elements by which the input moves",
    "--skip-existing": "leave outputs that are there",
    "--plot": "input and result side by side",
    "--size": "size of the kernel to learn",
    "--stabilise-light": "subtract changes of the light",
    "--still": "strip of sample frames",
    "--scale": "factor of the weights",
    "--stride": "step of the window",
    "--target": "files to learn towards",
    "--target-axes": "letters of the targets' dimensions",
    "--target-scale": "factor for targets",
    "--threads": "processor cores",
    "--threshold": "grey levels that are motion",
    "--top": "classes printed",
    "--transpose": "transposed convolution",
    "--validation": "share of examples held out",
    "--verbose": "say what was chosen",
    "--cancel": "end a job",
    "--keep-job": "keep the folder of a job",
    "--memory": "most memory",
    "--part": "which part of a job",
    "--workers": "number of processes",
    "--verify": "file to multiply with, or share of a job to compute once more",
    "--want": "size that is searched for",
    "--weights": "arrays of a net",
    "--with-input": "draw the input too",
}


def test_every_option_has_a_meaning_and_no_meaning_two_names() -> None:
    names = {one.opts[0] for command in ALL for one in options_of(command)}
    assert names | {"--help"} == set(MEANING)
    assert len(set(MEANING.values())) == len(MEANING)


@pytest.mark.parametrize("name", MEANING)
def test_an_option_is_written_in_one_way_over_all_commands(name: str) -> None:
    """What it takes, its letter and its other names are the same everywhere; times it may be given apart."""
    found = [one for command in ALL for one in options_of(command) if one.opts[0] == name]
    ways = {(one.is_flag, one.type.name, *one.opts, *one.secondary_opts) for one in found}
    assert len(ways) <= 1, ways


def png(place: Path) -> str:
    crop = np.asarray(Image.open(SAMPLES / "house.png").convert("RGB"))[40:72, 30:78]
    Image.fromarray(crop).save(place / "a.png")
    return "a.png"


def csv(place: Path) -> str:
    (place / "a.csv").write_text("t,u\n0,5\n1,7.5\n2,-1\n3,4\n4,9\n")
    return "a.csv"


def npy(place: Path) -> str:
    np.save(place / "a.npy", np.random.default_rng(1).normal(size=(9, 12)).astype(np.float32))
    return "a.npy"


def gif(place: Path) -> str:
    frames = np.random.default_rng(2).integers(0, 255, (3, 16, 18), dtype=np.uint8)
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(place / "a.gif", save_all=True, append_images=rest, duration=80)
    return "a.gif"


def clip(place: Path) -> str:
    frames = np.random.default_rng(3).integers(0, 255, (4, 16, 32, 3), dtype=np.uint8)
    make(place / "a.avi", frames, codec="ffv1", pixels="yuv444p")
    return "a.avi"


KINDS = (png, csv, npy, gif, clip)
NET = str(SAMPLES / "sobel-pool.yaml")
JOBS = {  # what a command does in the test, by the kind of its input
    **{kind.__name__: (kind, ("filter",), ("-k", "box:3", "--out-dir", "out")) for kind in KINDS},
    "explain": (png, ("explain",), ("-k", "sobel-x", "--at", "3,4", "-o", "out/a.png")),
    "explain a film": (None, ("explain",), ("--input", "2x3", "-k", "2x2", "--animate", "out/a.gif")),
    "matrix": (None, ("matrix",), ("--input", "4x4", "-k", "2x2", "-o", "out/w.npy")),
    "motion": (clip, ("motion",), ("--events", "-", "-o", "out/a.avi", "-q")),
    "net run": (png, ("net", "run"), ("-o", "out/a.npy", "--maps", "out/m.png")),
    "net check": (png, ("net", "check"), ()),
}


def printed_defaults(command: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the options whose help prints a default, with what it prints."""
    context = typer.Context(ALL[command])
    for one in options_of(command):
        shown = re.search(
            r"\[(?:env var: \w+; )?default: (.*)\]$", (one.get_help_record(context) or ("", ""))[1]
        )
        if shown and not one.is_flag:
            yield one.opts[0], shown[1]


@pytest.mark.parametrize("job", JOBS)
def test_a_printed_default_written_out_changes_nothing(
    job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, command, options = JOBS[job]
    monkeypatch.chdir(tmp_path)
    inputs = [NET] * (command[0] == "net") + ([kind(tmp_path)] if kind is not None else [])

    def outcome(*more: str) -> dict[str, object]:
        shutil.rmtree("out", ignore_errors=True)
        Path("out").mkdir()
        assert run([*command, *inputs, *options, *more]) == 0, capsys.readouterr().err
        files = {path.name: path.read_bytes() for path in Path("out").iterdir()}
        return {"standard output": capsys.readouterr().out, **files}

    plain, defaults = outcome(), dict(printed_defaults(command))
    assert any(plain.values())
    for name, text in defaults.items():
        assert outcome(name, text) == plain, f"{name} {text}"
    assert defaults or command == ("matrix",)


@pytest.mark.parametrize(
    ("variable", "value", "written", "error"),
    [
        ("CONVCLI_ENGINE", "torch", (), ""),
        (
            "CONVCLI_ENGINE",
            "opencv",
            (),
            "CONVCLI_ENGINE: engine 'opencv' is unknown: it is one of auto, numpy, torch",
        ),
        ("CONVCLI_ENGINE", "opencv", ("--engine", "torch"), ""),
        (
            "CONVCLI_DEVICE",
            "gpu",
            ("--engine", "torch"),
            "CONVCLI_DEVICE: unknown device 'gpu': use cpu or cuda",
        ),
        ("CONVCLI_DEVICE", "gpu", ("--engine", "torch", "--device", "cpu"), ""),
    ],
)
def test_the_environment_has_the_defaults_of_a_shell(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    written: tuple[str, ...],
    error: str,
) -> None:
    """What is written on the command line wins."""
    monkeypatch.setenv(variable, value)
    code = run(["filter", str(SAMPLES / "house.png"), "-k", "box:3", "--dry-run", "-v", *written])
    told = capsys.readouterr()
    assert (code, told.err) == ((2, f"error: {error}\n") if error else (0, ""))
    assert bool(error) != (", torch engine\n" in told.out and "; torch was asked for\n" in told.out)


def core_dependencies() -> list[str]:
    required = importlib.metadata.requires("convcli") or []
    return [one for one in required if "extra ==" not in one]


def code_lines() -> int:
    """Return the lines of the package without blanks, comments and docstrings."""
    total = 0
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        code = {n for n, line in enumerate(text.splitlines(), 1) if line.strip()[:1] not in ("", "#")}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        total += len(code)
    return total


SIZES = {  # what there is, what there is today, and the most that all open issues together may make of it
    "commands": (len(COMMANDS), 10, 11),
    "options of filter": (len(options_of(("filter",))), 58, 58),
    "core dependencies": (len(core_dependencies()), 15, 17),
}
CODE_LINES = 32_953  # of today; the aim is below 20,000


@pytest.mark.parametrize("what", SIZES)
def test_the_surface_does_not_grow_unseen(what: str) -> None:
    """A ratchet: who adds something raises the number of today and names, in the changelog, what it removes."""
    found, today, most = SIZES[what]
    assert found == today <= most, (
        f"{found} {what}, {today} were known of: change SIZES, name in the changelog what goes for it; at most {most}"
    )


def test_the_package_does_not_grow_unseen() -> None:
    found = code_lines()
    assert found <= CODE_LINES, (
        f"{found} lines of code, {CODE_LINES} were known of: shorten what the change touches, or raise CODE_LINES and "
        "name in the commit what the new lines are for"
    )
