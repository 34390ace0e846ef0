"""The kernel library: every file against the schema, the textbooks and other implementations."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from scipy import ndimage, signal
from skimage import data, filters
from typer.testing import CliRunner

import convcli
from convcli.cli.kernels import shows_colours
from convcli.cli.program import build
from convcli.common.errors import ConvError, UsageError
from convcli.kernel import Combine, Kernel, library, load_kernel
from convcli.kernel.parametric import FORMULAS
from convcli.kernel.yaml_file import KEYS
from convcli.pixels.ranges import Clip, Offset, Window
from tests.kernel.schema import with_choices
from tests.shell import ok

NAMES = library.names()
GALLERY = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text(encoding="utf-8")
SCHEMA = json.loads((library.library_dir() / library.SCHEMA).read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

WANTED = """
identity box mean3 smooth3 binomial3 binomial5 gaussian gaussian-exp edge quad-edge hedge vedge sobel sobel-x sobel-y
prewitt prewitt-x prewitt-y farid farid-x farid-y scharr scharr-x scharr-y roberts kirsch laplacian4 laplacian8 log dog
sharpen unsharp emboss motion-blur motion motion-book"""


def outputs(kernel: Kernel, image: np.ndarray) -> np.ndarray:
    """Correlate where the kernel fits, each output on its own, then combine: by scipy, not by our engines."""
    maps = np.array([signal.correlate(image, weights[0], "valid", "direct") for weights in kernel.array()])
    match kernel.combine:
        case Combine.MAGNITUDE:
            return np.sqrt((maps**2).sum(axis=0))
        case Combine.MAX:
            return maps.max(axis=0)
        case _:
            return maps[0]


# The files


def test_everything_wanted_is_there() -> None:
    assert set(NAMES) >= set(WANTED.split())


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert tuple(SCHEMA["properties"]) == ("name", "description", *KEYS[2:])


@pytest.mark.parametrize("name", NAMES)
def test_each_file_fits_the_schema_and_loads(name: str) -> None:
    path = library.library_dir() / f"{name}.yaml"
    text = path.read_text()
    document = yaml.safe_load(text)
    VALIDATOR.validate(document)
    assert text.startswith("# yaml-language-server: $schema=kernel.schema.json\n")
    longest = max(text.splitlines(), key=len)
    assert len(longest) <= 100, f"longer than 100 characters: {longest}"
    kernel = library.load(name)
    assert kernel.name == kernel.slug == document["name"] == name
    assert kernel.description == document["description"].strip()
    assert kernel.source == document["source"].strip()
    assert len(kernel.description) > 20
    assert len(kernel.source) > 10


def test_the_schema_lists_every_choice() -> None:
    assert with_choices(SCHEMA) == SCHEMA, "run python -m tests.kernel.schema, and read the difference"


@pytest.mark.parametrize("name", FORMULAS)
def test_each_formula_has_a_file_that_describes_it(name: str) -> None:
    document = yaml.safe_load((library.library_dir() / f"{name}.yaml").read_text())
    assert document["parametric"] == name
    for example in FORMULAS[name].examples.replace(" or ", ", ").split(", "):
        assert load_kernel(example).name == example


def test_the_library_missing_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "__file__", str(tmp_path / "convcli" / "kernel" / "library.py"))
    with pytest.raises(ConvError, match="library is missing"):
        library.library_dir.__wrapped__()
    (tmp_path / "convcli" / "library").mkdir(parents=True)
    (tmp_path / "convcli" / "library" / library.SCHEMA).write_text("{}")
    assert library.library_dir.__wrapped__() == tmp_path / "convcli" / "library"


# The numbers

SIGNED = ["hedge", "vedge"] + [
    f"{name}-{axis}" for name in ("prewitt", "sobel", "scharr", "farid") for axis in "xy"
]
MAGNITUDES = ["sobel", "prewitt", "scharr", "farid", "roberts", "kirsch"]


@pytest.mark.parametrize("name", SIGNED)
def test_edges_with_sign_are_shown_with_contrast(name: str) -> None:
    kernel = load_kernel(name)
    assert str(kernel.display_policy) == "offset:2"
    assert kernel.zero_sum
    dark_then_light = np.array([[0, 0, 0, 1, 1, 1]] * 6, dtype=float)
    along_x = signal.correlate(dark_then_light, kernel.array()[0, 0], "valid")
    along_y = signal.correlate(dark_then_light.T, kernel.array()[0, 0], "valid")
    horizontal = name == "hedge" or name.endswith("-y")
    response, nothing = (along_y, along_x) if horizontal else (along_x, along_y)
    assert (response > 0).any() and (response > -1e-9).all()  # dark above (left of) light is light
    np.testing.assert_allclose(nothing, 0, atol=1e-9)
    where = "dark above light" if horizontal else "dark left of light"
    assert f"{where} gives a light line" in kernel.description


@pytest.mark.parametrize("name", MAGNITUDES)
def test_a_step_by_half_of_black_to_white_is_white(name: str) -> None:
    kernel = load_kernel(name)
    policy = kernel.display_policy
    assert isinstance(policy, Window)
    step = np.repeat([[0.0, 0.5]], [6, 6], axis=1).repeat(12, axis=0)
    for full_scale in (255, 65535):
        black, white = policy.ends(full_scale)
        for image in (step, step[:, ::-1], step.T, step.T[::-1]):
            response = outputs(kernel, image * full_scale)
            assert black == response.min() == 0
            assert (response.max() - black) / (white - black) * full_scale == pytest.approx(
                full_scale, rel=1e-14 if name != "farid" else 1e-9
            )


@pytest.mark.parametrize(
    ("name", "function", "scale"),
    [
        ("sobel-x", lambda image: ndimage.sobel(image, axis=1), 1),
        ("sobel-y", lambda image: ndimage.sobel(image, axis=0), 1),
        ("prewitt-x", lambda image: ndimage.prewitt(image, axis=1), 1),
        ("prewitt-y", lambda image: ndimage.prewitt(image, axis=0), 1),
        ("vedge", lambda image: ndimage.prewitt(image, axis=1), 1),
        ("hedge", lambda image: ndimage.prewitt(image, axis=0), 1),
        ("laplacian4", ndimage.laplace, 1),
        ("sobel", filters.sobel, 4 * math.sqrt(2)),
        ("prewitt", filters.prewitt, 3 * math.sqrt(2)),
        ("farid", filters.farid, math.sqrt(2)),
        ("farid-x", filters.farid_v, 1),
        ("farid-y", filters.farid_h, 1),
        ("scharr", filters.scharr, 16 * math.sqrt(2)),
        ("scharr-x", filters.scharr_v, 16),
        ("scharr-y", filters.scharr_h, 16),
        ("gaussian", lambda image: ndimage.gaussian_filter(image, 1), 1),
        ("box", lambda image: ndimage.uniform_filter(image, 3), 1),
    ],
)
def test_numbers_agree_with_scipy_and_scikit_image(name: str, function, scale: float) -> None:
    image = np.random.default_rng(2).uniform(size=(20, 21))
    kernel = load_kernel(name)
    cut = tuple(slice(k // 2, -(k // 2)) for k in kernel.size)
    np.testing.assert_allclose(
        outputs(kernel, image), function(image)[cut] * scale, atol=1e-5 if name.startswith("farid") else 1e-12
    )


def test_edges_of_photographs_are_bright_enough_to_be_seen() -> None:
    photographs = [data.astronaut(), data.camera(), data.coffee(), data.chelsea(), data.rocket()]
    for name in MAGNITUDES:
        display = str(load_kernel(name).display_policy)
        shown = [convcli.filter(x, name, range=display, axes="YXC"[: x.ndim]) for x in photographs]
        brightest = np.median([np.percentile(edges, 99) for edges in shown])
        assert brightest >= (180 if name in ("sobel", "scharr", "prewitt", "farid") else 150)
        assert re.search(rf"^\| {name} \|.* \*\*{brightest:.0f}\*\* \|$", GALLERY, flags=re.MULTILINE)
        assert max((edges == 255).mean() for edges in shown) < 0.02  # and no large part is white


def test_roberts_is_the_size_of_both_diagonal_differences() -> None:
    image = np.random.default_rng(2).uniform(size=(9, 8))
    falling, rising = image[:-1, :-1] - image[1:, 1:], image[:-1, 1:] - image[1:, :-1]
    np.testing.assert_allclose(outputs(load_kernel("roberts"), image), np.hypot(falling, rising))


def test_kirsch_turns_one_mask_eight_times() -> None:
    bank = load_kernel("kirsch").array()[:, 0]
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    rings = np.array([[mask[place] for place in ring] for mask in bank])
    np.testing.assert_array_equal(rings[0], [5, 5, 5, -3, -3, -3, -3, -3])
    for turn, values in enumerate(rings):
        np.testing.assert_array_equal(values, np.roll(rings[0], turn))
    assert not bank[:, 1, 1].any()


def test_the_texts_numbers() -> None:
    def weights(name: str) -> list:
        return load_kernel(name, 1).array()[0, 0].tolist()

    assert weights("mean3") == [1 / 3] * 3
    assert weights("smooth3") == [0.33] * 3
    assert weights("edge") == [0.5, -0.5]
    assert weights("quad-edge") == [[-0.25, 0.25], [-0.25, 0.25]]
    assert weights("quad-edge-y") == [[-0.25, -0.25], [0.25, 0.25]]
    assert weights("hedge") == [[-1, -1, -1], [0, 0, 0], [1, 1, 1]]
    assert weights("article-horizontal") == [[1, 1, 1], [0, 0, 0], [-1, -1, -1]]
    assert weights("article-vertical") == [[1, 0, -1]] * 3
    assert weights("vedge") == [[-1, 0, 1]] * 3
    assert weights("motion") == [[[-1 / 9] * 3] * 3, [[1 / 9] * 3] * 3]
    assert weights("motion-book") == [[[-0.11] * 3] * 3, [[0.11] * 3] * 3]
    assert weights("laplacian8") == [[1, 1, 1], [1, -8, 1], [1, 1, 1]]
    assert weights("sharpen") == [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    assert weights("emboss") == [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]
    assert weights("identity") == [1]
    assert weights("binomial3") == [1 / 4, 1 / 2, 1 / 4]
    assert weights("binomial5") == [1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16]


def test_gaussian_exp_is_the_formula_and_shows_white_as_white() -> None:
    x = np.arange(-3, 4)
    expected = np.exp(-(x[:, None] ** 2 + x**2) / 7)
    kernel = load_kernel("gaussian-exp")
    np.testing.assert_allclose(kernel.array()[0, 0], expected, rtol=1e-15)
    assert kernel.display_policy.ends(255)[1] == pytest.approx(255 * expected.sum(), rel=1e-8)


@pytest.mark.parametrize(
    "name", ["sharpen", "unsharp", "emboss", "box", "gaussian", "binomial5", "motion-blur", "mean3"]
)
def test_even_areas_keep_their_brightness(name: str) -> None:
    assert load_kernel(name).sum == pytest.approx(1, abs=1e-15)
    assert load_kernel(name).display_policy == Clip()


@pytest.mark.parametrize(
    "name",
    [
        "log",
        "dog",
        "laplacian4",
        "laplacian8",
        "motion",
        "motion-book",
        "edge",
        "quad-edge",
        "quad-edge-y",
        "corner",
    ],
)
def test_even_areas_turn_mid_grey(name: str) -> None:
    assert load_kernel(name).zero_sum
    assert isinstance(load_kernel(name).display_policy, Offset)


def test_corner_is_the_mixed_derivative_and_shows_corners_alone() -> None:
    y, x = np.mgrid[:9, :8].astype(float)
    np.testing.assert_allclose(outputs(load_kernel("corner"), 2 * x * y + x**2 - 3 * y), 2)
    light = np.zeros((12, 12))
    light[3:9, 3:9] = 1
    response = outputs(load_kernel("corner"), light)
    np.testing.assert_array_equal(response, np.gradient(np.gradient(light, axis=0), axis=1)[1:-1, 1:-1])
    assert (
        response[1, 1] > 0 < response[8, 8] and response[1, 8] < 0 > response[8, 1]
    )  # as its description says
    assert not response[4:6].any() and not response[:, 4:6].any()


@pytest.mark.parametrize(("name", "sign"), [("log", -1), ("laplacian4", -1), ("laplacian8", -1), ("dog", 1)])
def test_polarity_of_spots_is_as_described(name: str, sign: int) -> None:
    kernel = load_kernel(name)
    assert math.copysign(1, kernel.array()[0, 0][kernel.origin]) == sign
    assert ("turn dark, dark ones light" in kernel.description) == (sign < 0)


def test_relief_is_lit_from_the_top_left() -> None:
    image = np.zeros((9, 9))
    image[3:6, 3:6] = 1
    relief = outputs(load_kernel("emboss"), image)
    assert relief[1, 1] > 0 > relief[5, 5]  # just outside the raised square's corners


def test_motion_blur_smears_from_top_left_to_bottom_right() -> None:
    spot = np.zeros((11, 11))
    spot[5, 5] = 1
    smeared = ndimage.correlate(spot, load_kernel("motion-blur:3").array()[0, 0], mode="constant")
    assert smeared[4, 4] == smeared[6, 6] == pytest.approx(1 / 3)
    assert smeared[4, 6] == smeared[6, 4] == 0


def test_astronaut_shows_both_signs() -> None:
    response = outputs(load_kernel("hedge"), data.astronaut()[..., 1].astype(float))
    assert (response > 128).mean() > 0.01
    assert (response < -128).mean() > 0.01


# The command


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(build(["kernels"]), ["kernels", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def test_list_is_a_table_within_80_columns() -> None:
    lines = run("list").splitlines()
    assert lines[0].split() == ["name", "rank", "size", "what", "for"]
    assert [line.split()[0] for line in lines[1:]] == list(NAMES)
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    rows = {line.split()[0]: line for line in lines}
    assert rows["hedge"].split(maxsplit=3)[1:] == ["2", "3x3", "horizontal edges"]
    assert rows["box"].split(maxsplit=3)[1:] == ["any", "3", "mean of the window; box:5"]
    assert rows["kirsch"].split()[1:3] == ["2", "8@3x3"]
    assert rows["motion"].split()[1:3] == ["3", "2x3x3"]
    assert rows["smooth3"].split()[1:3] == ["1", "3"]


def test_list_as_json() -> None:
    entries = {entry["name"]: entry for entry in json.loads(run("list", "--json"))}
    assert list(entries) == list(NAMES)
    assert entries["sobel"]["outputs"] == 2
    assert entries["sobel"]["size"] == [3, 3]
    assert entries["box"]["rank"] is None
    assert entries["edge"]["rank"] == 1


def test_show_hedge() -> None:
    lines = run("show", "hedge").splitlines()
    assert lines[21] == "a sample before and after"
    assert lines[41] == "gain 0 to 6 at frequencies of -0.5 to 0.5 cycles a sample along x and y"
    assert lines[:21] == [
        "hedge",
        "horizontal edges: dark above light gives a light line, light above dark a dark",
        "one",
        "",
        "  -1  -1  -1",
        "   0   0   0",
        "   1   1   1",
        "",
        "size       3x3; origin 1,1 (counted from 0)",
        "sum        0; of absolute values 6",
        "range      -765 to 765 from 8-bit input (0 to 255)",
        "display    offset:2",
        "separable  yes: [-1, 0, 1] × [1, 1, 1]",
        "symmetry   left-right, anti up-down, anti point",
        "gain       0 at zero; y: -3 dB at 0.125 and 0.375 cycles a sample, 0 at the",
        "           highest; x: 0 at the highest",
        "delay      0 samples",
        'source     "Convolution", lecture notes on neural networks, has it for',
        "           horizontal edges; Moscatelli's article has the negative, HK;",
        "           Prewitt's numbers (1970)",
        "",
    ]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("box", ["1/9  1/9  1/9", "separable  yes: 1/9 × [1, 1, 1] × [1, 1, 1]", "parameters as in box:5"]),
        ("sobel", ["filter 0:", "combine magnitude", "0 to 1442.5", "filter 1: [-1, 0, 1] × [1, 2, 1]"]),
        ("motion", ["frame 0:", "frame 1:", "-1/9  -1/9  -1/9", "origin 0,1,1"]),
        ("smooth3", ["0.33  0.33  0.33"]),
        ("log", ["-1000", "(in thousandths of", "separable  no"]),
        ("gaussian:sigma=2", ["(in hundredths of", "sum        1;"]),
        ("gaussian:sigma=9", ["73 × 73 numbers; `--json` prints them"]),
        ("kirsch", ["filter 7:", "range      -3825 to 3825", "symmetry   none"]),
        ("1,0,-1;1,0,-2", ["1  0  -2"]),
    ],
)  # fmt: skip
def test_show(name: str, parts: list[str]) -> None:
    text = run("show", name)
    squeezed = " ".join(text.split())
    for part in parts:
        assert " ".join(part.split()) in squeezed
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_show_a_file_with_bias_and_defaults(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "weights: [[[1, 2]], [[3, 5]]]\nrank: 2\nbias: [1, 1/3]\nstride: [2, 1]\npadding: ['1:0', same]\nflip: true"
    )
    text = run("show", str(path))
    assert "bias       1, 1/3" in text
    assert "defaults   stride 2,1, padding 1:0,same, flip true" in text
    assert "size       1x2, 2 out × 1 in" in text
    found = json.loads(run("show", str(path), "--json"))
    assert found["defaults"] == {"stride": [2, 1], "padding": [[1, 0], "same"], "flip": True}
    assert found["weights"] == [[[[1, 2]]], [[[3, 5]]]]


def test_show_a_large_bank(tmp_path: Path) -> None:
    np.save(tmp_path / "bank.npy", np.random.default_rng(0).normal(size=(20, 3, 3, 3)))
    text = run("show", str(tmp_path / "bank.npy"))
    assert "filter 2, input 1:" in text
    assert "and 52 more; `--json` prints them all" in text
    assert "20 out × 3 in" in text


def test_show_as_json() -> None:
    found = json.loads(run("show", "sobel-x", "--json"))
    assert found["weights"] == [[[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]]]
    assert found["range_8bit"] == [-1020, 1020]
    assert found["separable"] is True
    assert found["factors"] == [{"scale": 1, "factors": [[1, 2, 1], [-1, 0, 1]]}]
    assert found["display"] == "offset:2"
    assert found["symmetry"] == ["anti left-right", "up-down", "anti point"]
    assert json.loads(run("show", "laplacian4", "--json"))["separable"] is False


def test_a_wrong_name_is_left_to_the_caller() -> None:
    result = CliRunner().invoke(build(["kernels"]), ["kernels", "show", "hegde"])
    assert isinstance(result.exception, UsageError)
    assert "nearest: hedge" in str(result.exception)


def test_picture_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("kernels", "shared.drawing"):
        monkeypatch.setattr(f"convcli.cli.{module}.shows_colours", lambda: True)
    text = run("show", "vedge")
    darkest, middle, lightest = (f"38;5;{232 + step}m" for step in (0, 12, 23))
    line = next(line for line in text.splitlines() if "\x1b" in line)
    assert line.index(darkest) < line.index(middle) < line.index(lightest)
    drawn, response = (part.splitlines() for part in run("show", "kirsch").split("size ", 1))
    drawn, response = ([line for line in part if "\x1b" in line] for part in (drawn, response))
    assert len(drawn) == 2 * 6  # eight pictures of three rows, six half lines each, on two lines
    assert len(response) == 18 + 2 * 9  # the sample, and eight of 17 frequencies, in four columns
    assert drawn[0].count("▀") == 5 * 3 * 4
    assert "\x1b" not in text.split("size ")[1].split("a sample")[0]


def test_when_a_picture_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert shows_colours()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not shows_colours()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert not shows_colours()


def test_the_list_needs_no_numpy() -> None:
    code = (
        "import sys; from convcli.cli.program import run; run(['kernels', 'list']); "
        "print({'numpy', 'torch', 'rich', 'scipy'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
    assert "hedge" in done.stdout


def test_a_huge_kernel_is_shown_by_its_corner_and_its_centre(tmp_path: Path) -> None:
    weights = np.arange(301.0 * 201).reshape(301, 201) / 7
    np.save(tmp_path / "k.npy", weights)
    began = time.process_time()
    shown = run("show", str(tmp_path / "k.npy")).splitlines()
    assert time.process_time() - began < 2
    assert shown[2] == "  301 × 201 numbers; `--json` prints them all"
    at = shown.index("  at the centre (row 148, column 98, counted from 0):")
    for first, part in ((4, weights[:5, :5]), (at + 1, weights[148:153, 98:103])):
        numbers = [[float(Fraction(cell)) for cell in line.split()] for line in shown[first : first + 5]]
        np.testing.assert_allclose(numbers, part, rtol=1e-5)
    assert len(shown) < 30 + 15


def test_show_says_that_a_statistic_has_no_weights() -> None:
    done = ok("kernels", "show", "percentile:3x5,75")
    assert "weights    none: a result is the percentile 75 of the window's samples" in done.stdout.decode()
    assert json.loads(ok("kernels", "show", "std:3", "--json").stdout)["range_8bit"] == [0, 127.5]
