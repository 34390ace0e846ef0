"""The gradients of a convolution are convolutions: against torch and finite differences, and from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convcli.cli.learn import gradients as learn_gradients
from convcli.cli.program import run
from convcli.geometry.windows import Window
from convcli.learning.gradients import Case, Gradients, by_autograd, by_convolution, by_finite_differences
from tests.shell import convcli, ok


@settings(max_examples=40)
@given(data=st.data())
def test_all_three_agree(data: st.DataObject) -> None:
    small = st.integers(0, 2)
    windows = [
        Window(
            data.draw(st.integers(1, 3)),
            data.draw(st.integers(1, 3)),
            data.draw(st.integers(1, 2)),
            data.draw(small),
            data.draw(small),
        )
        for _ in range(data.draw(st.integers(1, 3)))
    ]
    sizes = [window.extent + data.draw(small) for window in windows]
    case = Case.random(data.draw(st.integers(1, 2)), sizes, data.draw(st.integers(1, 2)), windows, seed=1)
    ours = by_convolution(case)
    assert ours.x.shape == case.x.shape
    assert ours.weights.shape == case.weights.shape
    for other, bound in ((by_autograd(case), 1e-11), (by_finite_differences(case), 1e-10)):
        for name, array in vars(ours).items():
            np.testing.assert_allclose(array, getattr(other, name), rtol=0, atol=bound)


def test_the_input_gradient_is_torchs_transposed_convolution() -> None:
    case = Case.random(2, (6, 7), 3, [Window(3, 2, 1, 1, 1), Window(2, 1, 2, 0, 0)], seed=4)
    back = torch.nn.functional.conv_transpose2d(
        torch.tensor(case.output_gradient)[None], torch.tensor(case.weights), stride=(2, 1), dilation=(1, 2)
    )[0].numpy()
    reached = back[:, 1:, :]  # one row was padding; the last input row is reached by no window
    np.testing.assert_allclose(by_convolution(case).x[:, : reached.shape[1]], reached[:, :6], atol=1e-12)


def test_the_shell_shows_the_numbers() -> None:
    done = ok("learn", "--gradcheck", "--input", "4x5", "--size", "3x2", "--stride", "2,1", "--padding", "1")
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("y = correlate(x, w) + b, L = sum(g * y); x 1@4x5, w 1x1x3x2, y and g 1@2x6")
    case = Case.random(1, (4, 5), 1, [Window(3, 2, 1, 1, 1), Window(2, 1, 1, 1, 1)], seed=0)
    gradient = by_autograd(case)
    assert [float(cell) for cell in lines[3].split()] == pytest.approx(gradient.x[0, 0], abs=1e-4)
    assert [float(cell) for cell in lines[11].split()] == pytest.approx(gradient.weights[0, 0, 0], abs=1e-4)
    assert (
        sum("autograd:" in line for line in lines)
        == sum("finite differences:" in line for line in lines)
        == 3
    )
    assert lines[-1] == "equal up to rounding: these convolutions, autograd and finite differences"


def test_numbers_of_ones_own(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    x, w, g = random.normal(size=(2, 5, 6)), random.normal(size=(3, 2, 2, 3)), random.normal(size=(3, 3, 2))
    for name, array in (("x", x), ("w", w), ("g", g)):
        np.save(tmp_path / f"{name}.npy", array)
    run = ("learn", "--gradcheck", "x.npy", "w.npy", "g.npy", "--stride", "2", "--padding", "1:0,0", "--json")
    facts = json.loads(ok(*run, cwd=tmp_path).stdout)
    inputs, weights = (torch.tensor(array, requires_grad=True) for array in (x, w))
    padded = torch.nn.functional.pad(inputs, (0, 0, 1, 0))[None]
    torch.nn.functional.conv2d(padded, weights, stride=2)[0].backward(torch.tensor(g))
    np.testing.assert_allclose(facts["gradients"]["x"], inputs.grad, atol=1e-12)
    np.testing.assert_allclose(facts["gradients"]["weights"], weights.grad, atol=1e-12)
    rows = torch.nn.functional.unfold(padded, (2, 3), stride=2)[0].T  # patches, channels * kernel
    np.testing.assert_array_equal(facts["patches"], rows.detach())


def test_a_signal_and_a_kernel_inline() -> None:
    lines = ok("learn", "--gradcheck", "1,2,4,8", "3,5", "-q").stdout.decode().splitlines()
    assert lines[0] == "y = correlate(x, w) + b, L = sum(g * y); x 1@4, w 1x1x2, y and g 1@3"
    gradients = json.loads(ok("learn", "--gradcheck", "1,2,4,8", "3,5", "--json").stdout)["gradients"]
    assert gradients == {"x": [[3, 8, 8, 5]], "weights": [[[7, 14]]], "bias": [3]}  # g is 1 everywhere


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (("1,2,3",), b"X W [G]"),
        (("1,2,3", "1,2;3,4"), b"w has 2 axes of space"),
        (("1,2,3", "1,2", "1,2,3"), b"G is (1, 3), and the output (1, 2)"),
        (("1,2,3", "1,2", "--seed", "1"), b"--seed belongs to another job"),
    ],
)
def test_numbers_that_make_no_case(numbers: tuple[str, ...], words: bytes) -> None:
    done = convcli("learn", "--gradcheck", *numbers)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert words in done.stderr


def test_json_has_all_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["learn", "--gradcheck", "--input", "2@9", "--size", "3@4", "--seed", "7", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    x = torch.tensor(facts["x"], requires_grad=True)
    w = torch.tensor(facts["weights"])
    (torch.nn.functional.conv1d(x[None], w)[0] * torch.tensor(facts["output_gradient"])).sum().backward()
    np.testing.assert_allclose(facts["gradients"]["x"], x.grad, atol=1e-4)
    assert (facts["seed"], facts["notes"]) == (7, [])
    assert max(facts["differences"]["autograd"].values()) < 1e-12


def test_a_wrong_gradient_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flipped(case: Case) -> Gradients:
        right = by_convolution(case)
        return Gradients(right.x, right.weights[..., ::-1], right.bias)

    monkeypatch.setattr(learn_gradients, "by_convolution", flipped)
    assert run(["learn", "--gradcheck"]) == 1
    assert "the gradients differ from autograd by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--input", "3", "--size", "5"], "2 more needed"),
        (["--input", "90x90"], "give a smaller --input"),
        (["--input", "3x3", "--size", "2x2x2"], "3 values"),
        (["--input", "photo.png"], "photo.png"),
        (["--lr", "1"], "--lr belongs to another job than --gradcheck"),
        (["--stride", "0"], "stride 0"),
        (["--seed", "-1"], "seed -1"),
    ],
)
def test_what_makes_no_case_is_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["learn", "--gradcheck", *arguments]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
