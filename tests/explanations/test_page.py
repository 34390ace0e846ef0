"""The page to learn with: its arithmetic equals convcli's and torch's, in an engine of JavaScript and in a browser."""

from __future__ import annotations

import contextlib
import html
import io
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quickjs
import torch

from convcli.cli.program import run
from convcli.common import UsageError, number_text
from convcli.execution.pipeline import reference
from convcli.explanations.film import page
from convcli.explanations.matrix import convolution_matrix
from convcli.geometry.padding import PadMode, parse_padding
from convcli.jobs.bind import Settings, bind
from convcli.kernel import Kernel
from tests.shell import convcli, ok

WEIGHTS = np.array([2.0, -3, 5, 7, -11, 13, 17, 19, -23, 29, 31, 37, -41, 43, 47, 53])
SIZES = [((6,), (3,)), ((5,), (4,)), ((1,), (1,)), ((5, 4), (3, 2)), ((4, 4), (1, 3)), ((3, 5), (4, 2))]
MODES = [mode for mode in PadMode if mode is not PadMode.CONSTANT]
OPTIONS = [
    {"stride": (stride,), "padding": parse_padding(padding), "dilation": (dilation,), "pad_mode": mode}
    for (stride, padding, dilation), mode in zip(
        product((1, 2, 3), ("0", "2", "1:3", "5"), (1, 2)), MODES * 4, strict=True
    )
]
OPTIONS += [{"padding": parse_padding("2"), "pad_mode": PadMode.CONSTANT, "pad_value": -7.0, "bias": (1.5,)}]
OPTIONS += [
    {
        "stride": (stride,),
        "padding": parse_padding(padding),
        "dilation": (dilation,),
        "output_padding": (extra,),
    }
    | {"transposed": True, "bias": (bias,)}
    for stride, padding, dilation, extra, bias in (
        *((1, "0", 1, 0, 0.0), (2, "0", 1, 0, 0.5), (2, "1", 1, 1, 0.0), (3, "1:0", 1, 2, 0.0)),
        *((1, "1", 2, 0, -2.0), (2, "0:1", 2, 1, 0.0), (4, "0", 1, 0, 0.25)),
    )
]


def bound(size: tuple[int, ...], kernel: tuple[int, ...], **options: object) -> tuple[Any, np.ndarray]:
    """Return a stage and numbers for it, which are not symmetric."""
    weights = WEIGHTS[: np.prod(kernel)]
    options = {**options, "bias": options.get("bias")}
    chain = bind(
        [Kernel("test", (1, 1, *kernel), tuple(weights))], Settings(**options), "YX"[-len(size) :], size, 1
    )
    return chain, np.random.default_rng(5).integers(-9, 10, size).astype(np.float64)


def cases() -> Iterator[tuple[Any, np.ndarray]]:
    for (size, kernel), options in product(SIZES, OPTIONS):
        with contextlib.suppress(UsageError):  # a kernel larger than the input, or all cropped
            yield bound(size, kernel, **options)


def given(text: str) -> dict[str, Any]:
    """Return the data that a page opens with."""
    return json.loads(re.search(r'<script type="application/json" id="given">(.*?)</script>', text, re.S)[1])


def page_of(chain: Any, x: np.ndarray) -> str:
    return page(chain.stages[0], x, reference(chain, x[None], "float64")[0, 0])


@pytest.fixture(scope="module")
def engine() -> Callable[..., Any]:
    """Return a function that calls one of the page's pure functions."""
    text = page_of(*bound((3,), (2,)))
    context = quickjs.Context()
    context.eval(re.search(r'<script id="arithmetic">(.*?)</script>', text, re.S)[1])

    def call(name: str, *arguments: object) -> Any:
        return json.loads(context.eval(f"JSON.stringify({name}(...{json.dumps(arguments)}))"))

    return call


def test_outputs_and_matrix_are_those_of_convcli(engine):
    count = 0
    for chain, x in cases():
        text = page_of(chain, x)
        job, results = given(text)["job"], given(text)["results"]
        assert engine("problemOf", job) == ""
        assert engine("outputs", job) == results  # integers and halves: exact
        expected = convolution_matrix(chain.stages[0], x.shape, 1)
        found = engine("matrix", job)
        np.testing.assert_array_equal(np.array(found["rows"], float), entries(expected))
        assert found["offset"] == expected.offset.tolist()
        count += 1
    assert count > 150


def entries(matrix: Any) -> np.ndarray:
    """Return the matrix with NaN where there is no entry."""
    full = np.full(matrix.shape, np.nan)
    full[matrix.rows, matrix.columns] = matrix.values
    return full


@pytest.mark.parametrize("rank", [1, 2])
def test_outputs_are_those_of_torch(engine, rank):
    conv = torch.nn.functional.conv1d if rank == 1 else torch.nn.functional.conv2d
    back = torch.nn.functional.conv_transpose1d if rank == 1 else torch.nn.functional.conv_transpose2d
    for size, taps, stride, padding, dilation, transposed in product(
        (3, 6), (1, 2, 3), (1, 2, 3), (0, 1, 3), (1, 2), (False, True)
    ):
        x = torch.arange(size**rank, dtype=torch.float64).reshape(1, 1, *[size] * rank) ** 2 % 11
        w = torch.tensor(WEIGHTS[: taps**rank]).reshape(1, 1, *[taps] * rank)
        axis = {
            "stride": stride,
            "dilation": dilation,
            "before": padding,
            "after": padding,
            "outputPadding": stride - 1,
        }
        job = {"mode": "zero", "value": 0, "bias": 4, "transposed": transposed, "axes": [axis] * rank}
        job |= {"input": listed(x[0, 0]), "kernel": listed(w[0, 0])}
        how = {
            "bias": torch.tensor([4.0], dtype=torch.float64),
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
        }
        try:
            expected = back(x, w, output_padding=stride - 1, **how) if transposed else conv(x, w, **how)
        except RuntimeError:
            assert engine("problemOf", job) != ""
            continue
        assert engine("outputs", job) == listed(expected[0, 0])


def listed(values: Any) -> dict[str, Any]:
    return {"shape": list(values.shape), "values": values.ravel().tolist()}


def test_every_step_shows_numbers_that_add_up(engine):
    """The windows drawn, of transposed convolutions too, hold the products whose sum is the output."""
    for chain, x in list(cases())[::5]:
        text = page_of(chain, x)
        job, results = given(text)["job"], given(text)["results"]["values"]
        for step in (0, len(results) // 2, len(results) - 1):
            view = engine("slidingView", job, step, results)
            products = [cell["value"] for cell in view["products"]["cells"] if cell["value"] is not None]
            assert sum(products) + job["bias"] == results[step]
            assert len(products) == len(job["kernel"]["values"])
            assert [cell["value"] for cell in view["output"]["cells"]][: step + 1] == results[: step + 1]
            said = engine("sentenceOf", job, step, False)
            assert said["result"] == number_text(results[step])
            terms = re.fullmatch(r"Output [\d,]+ = (.*) =", said["words"])[1]
            assert eval(terms.replace("×", "*")) == results[step]
        if job["transposed"]:
            last = engine("layingView", job, x.size - 1)["output"]["cells"]
            assert [cell["value"] for cell in last if cell["kind"] == "done"] == results


# Dumoulin and Visin (2016): sizes of the inputs and outputs in their figures 2.1 to 2.7, 4.1 to 4.7 and 5.1
ANIMATIONS = [(4, 2), (5, 6), (5, 5), (5, 7), (5, 2), (5, 3), (6, 3), (7, 3)]
ANIMATIONS += [(2, 4), (6, 5), (5, 5), (7, 5), (2, 5), (3, 5), (3, 6)]


def test_presets_are_the_animations_of_convolution_arithmetic(engine):
    sizes = []
    for rank, number in product((1, 2), range(len(ANIMATIONS))):
        preset = engine("((number) => PRESETS[number])", number)
        job = engine("presetJob", preset, rank)
        shape = engine("outputShape", job)
        assert len(set(shape)) == 1 and len(shape) == rank and engine("problemOf", job) == ""
        sizes.append((preset["input"], shape[0]))
    assert sizes == ANIMATIONS * 2


def test_the_command_on_the_page_computes_its_output(engine, monkeypatch):
    for chain, x in list(cases())[::9]:
        text = page_of(chain, x)
        job, results = given(text)["job"], given(text)["results"]
        at = [size - 1 for size in results["shape"]]
        command = engine("commandOf", job, "explain", "--at " + ",".join(map(str, at)))
        if job["kernel"]["shape"][0] == 1 < len(at) and not command:
            continue
        (printf, _, numbers, *_), (_, *words) = map(shlex.split, command.split(" | "))
        assert printf == "printf"
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(numbers.replace("\\n", "\n").encode())))
        assert value_of(words) == [results["values"][-1]]
        found = matrix_of(shlex.split(engine("commandOf", job, "matrix"))[1:])
        assert found == convolution_matrix(chain.stages[0], x.shape, 1).dense().tolist()


def value_of(words: list[str]) -> list[float]:
    return reported([*words, "--json"])["values"]


def matrix_of(words: list[str]) -> list[list[float]]:
    return reported([*words, "--json"])["matrix"]


def reported(words: list[str]) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(io.StringIO()):
        assert run(words) == 0
    return json.loads(printed.getvalue())


NUMBERS = [
    0.0,
    2.0,
    -0.25,
    1 / 9,
    -2 / 3,
    0.33,
    2**0.5,
    52321 / 256,
    1234567.0,
    7654321.25,
    1e-7,
    999 / 1000,
    123456789012.5,
]


def test_numbers_are_written_as_convcli_writes_them(engine):
    texts = [engine("numberText", value) for value in NUMBERS]
    assert [text.replace("e-0", "e-") for text in map(number_text, NUMBERS)] == texts
    array = {"shape": [len(NUMBERS)], "values": NUMBERS}
    assert engine("readArray", engine("arrayText", array), 1) == array


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "No numbers are here"),
        (" \n ", "No numbers are here"),
        ("1 x 3", "“x” is not a number"),
        ("1 2\n3", "Row 2 has 1 numbers and row 1 has 2"),
        ("1 2\n3 1/0", "“1/0” divides by zero"),
        ("1e999", "is too large"),
        ("0x10", "“0x10” is not a number"),
        ("nan", "“nan” is not a number"),
        ("1 " * 33, "33 numbers in a line are too many"),
    ],
)
def test_wrong_input_is_said(engine, text, said):
    assert said in engine(
        "((text) => { try { return readArray(text, 2); } catch (error) { return error.message; } })", text
    )


def test_numbers_are_read_as_people_write_them(engine):
    assert engine("readArray", "1, 2\t-.5\n1/4 1e1 +3.", 2) == {
        "shape": [2, 3],
        "values": [1, 2, -0.5, 0.25, 10, 3],
    }
    assert engine("readArray", "1 2\n3", 1) == {"shape": [3], "values": [1, 2, 3]}
    resized = {"shape": [2, 3], "values": [5, 6, 1, 7, 8, 1]}
    assert engine("resized", {"shape": [3, 2], "values": [5, 6, 7, 8, 9, 10]}, [2, 3]) == resized


# The file


def test_the_page_is_one_file_that_loads_nothing(tmp_path):
    size = ("--input", "20x20", "-k", "3x3", "--padding", "1", "--stride", "1")
    done = ok("explain", "--animate", tmp_path / "a.html", *size)
    assert done.stdout.decode() == f"{tmp_path / 'a.html'}: 400 frames\n"
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 300_000
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|\bsrc=|\bhref=|url\(|@import|fetch\(|XMLHttpRequest|\bimport\b", text)
    again = convcli("explain", "--animate", tmp_path / "a.html", *size)
    assert again.returncode == 1 and b"exists" in again.stderr


def test_a_kernels_name_ends_no_script():
    chain, x = bound((3,), (2,))
    named = bind([Kernel("</script><b>", (1, 1, 2), (1.0, 2.0))], Settings(), "X", (3,), 1)
    text = page_of(named, x)
    assert given(text)["title"] == named.stages[0].kernel.title
    assert text.count("</script>") == page_of(chain, x).count("</script>")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--input", "5x5", "--pool", "max:2"), "a page shows a convolution"),
        (("--input", "4x4x4", "-k", "2x2x2"), "a page shows signals and images"),
        (("--input", "50x50", "-k", "3x3"), "too many to look at"),
        (("--input", "5x5", "-k", "sobel"), "a picture shows one kernel"),
    ],
)
def test_what_no_page_can_show_is_refused(tmp_path, words, message):
    done = convcli("explain", "--animate", "a.html", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1) and message in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_missing_samples_are_refused(tmp_path):
    (tmp_path / "s.csv").write_text("v\n1\n\n3\n4\n")
    done = convcli("explain", "s.csv", "-k", "mean3", "--animate", "a.html", cwd=tmp_path)
    assert done.returncode == 2 and b"some are missing" in done.stderr


def test_colours_have_contrast():
    """WCAG 2.2, 1.4.3: text 4.5 to 1 on whatever it stands on."""
    text = page_of(*bound((3,), (2,)))
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part))
        for part in re.findall(r":root \{(.*?)\}", text, re.S)
    )

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    pairs = [
        ("ink", ground) for ground in ("paper", "panel", "data", "padding", "lit", "lit-padding", "kernel")
    ]
    pairs += [("ink", ground) for ground in ("product", "done", "current", "unknown")]
    pairs += [("quiet", ground) for ground in ("paper", "panel", "padding")]
    pairs += [("weight", "lit"), ("weight", "lit-padding"), ("wrong", "paper"), ("wrong", "panel")]
    for colours, (front, ground) in product((light, dark), pairs):
        high, low = sorted((luminance(colours[front]), luminance(colours[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (front, ground, colours["paper"])


# A browser

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
DRIVER = (Path(__file__).parent / "page_driver.js").read_text(encoding="utf-8")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_in_a_browser(tmp_path):
    """Controls are used as a person would, and what the page shows is compared with convcli."""
    chain, x = bound((5, 4), (3, 2), stride=(2,), padding=parse_padding("1"))
    jobs = [
        (given(page_of(*case)), convolution_matrix(case[0].stages[0], case[1].shape, 1).dense())
        for case in list(cases())[::8]
    ]
    driver = DRIVER.replace("JOBS", json.dumps([one["job"] for one, _ in jobs]))
    file = tmp_path / "a.html"
    file.write_text(
        page_of(chain, x).replace("</body>", f"<script>{driver}</script></body>"), encoding="utf-8"
    )
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    done = subprocess.run(
        [*command, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)[1]))
    assert (found["errors"], found["loaded"], found["unnamed"]) == ([], 0, 0)
    assert found["check"] == "All 9 outputs equal those that convcli computed (largest difference 0)."
    steps = ["0,0", "0,1", "1,1", "0,1", "0,0", "0,0", "2,2"]
    assert found["steps"] == [f"Output {at}" for at in steps]
    assert found["unknown"] == 2 * 8  # outputs to come
    assert (found["playing"], found["paused"]) == (["❚❚ Pause", "off"], ["▶ Play", "polite"])
    assert found["clicked"] == found["kept"] == "Output 1,1"
    said = {"letters": "“x” is not", "empty": "No numbers", "ragged": "Row 2 has 1", "large": "is too large"}
    for kind, words in said.items():
        invalid, message, shown = found["said"][kind]
        assert (invalid, shown) == ("true", "Output 1,1") and words in message
    assert "3 more needed" in found["said"]["problem"][0] and "stale" in found["said"]["problem"][1]
    assert found["said"]["mended"] == ["", "stage"]
    assert len(found["jobs"]) == len(jobs) > 20
    for (one, matrix), shown in zip(jobs, found["jobs"], strict=True):
        assert shown["problem"] == ""
        assert shown["outputs"] == shown["y"] == list(map(number_text, one["results"]["values"]))
        assert shown["sizes"] == one["results"]["shape"]
        assert shown["matrix"] == [[number_text(value) for value in row] for row in matrix.tolist()]
