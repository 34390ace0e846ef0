"""Gradients by tensors that ``filter`` takes, beside torch's own convolutions and beside differences of results."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import convcli
from convcli.common import UsageError

filtered = partial(convcli.filter, engine="torch")


def randoms(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(4)).requires_grad_()


def gradient(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a weighted sum of ``y`` by ``x``."""
    weights = torch.sin(torch.arange(y.numel(), dtype=torch.float64)).reshape(y.shape).to(y.dtype)
    (found,) = torch.autograd.grad((weights * y).sum(), x)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": (0, 2)}])
def test_a_bank_is_conv2d_and_so_is_its_gradient(options: dict[str, Any], dtype: torch.dtype) -> None:
    bank = np.random.default_rng(1).normal(size=(4, 3, 3, 2))
    x = randoms(2, 3, 9, 8, dtype=dtype)
    made = filtered(x, bank, axes="NCYX", **({"padding": "valid"} | options))
    want = F.conv2d(x, torch.tensor(bank, dtype=dtype), **options)
    assert made.grad_fn is not None and made.dtype == dtype
    near = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-11, "atol": 1e-12}
    torch.testing.assert_close(made, want, **near)
    torch.testing.assert_close(gradient(made, x), gradient(want, x), **near)


@pytest.mark.parametrize("mode", ["replicate", "reflect", "circular", "constant"])
def test_padding_of_channels_each_alone(mode: str) -> None:
    x, weights = randoms(7, 9, 3), np.array([[1.0, 2, 4], [8, 3, -7], [5, 0, 2]])
    made = filtered(x, weights, axes="YXC", pad_mode=mode, bias=2.0)
    padded = F.pad(x.permute(2, 0, 1)[:, None], (1, 1, 1, 1), mode=mode)
    want = (F.conv2d(padded, torch.tensor(weights)[None, None])[:, 0] + 2).permute(1, 2, 0)
    torch.testing.assert_close(made, want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient(made, x), gradient(want, x), rtol=1e-12, atol=1e-12)


def test_transposed_and_one_axis() -> None:
    x, weights = randoms(11), [1.0, -2, 5, 3]
    made = filtered(x, weights, stride=3, transpose=True, padding=1, output_padding=2)
    want = F.conv_transpose1d(
        x[None, None], torch.tensor([[weights]], dtype=x.dtype), stride=3, padding=1, output_padding=2
    )[0, 0]
    torch.testing.assert_close(made, want)
    torch.testing.assert_close(gradient(made, x), gradient(want, x))


@pytest.mark.parametrize(
    ("kernel", "options", "shape"),
    [
        ("sobel", {}, (6, 7)),
        (["gaussian:sigma=1", "sobel-x"], {"stride": 2}, (8, 9)),
        ("kirsch", {"axes": "CYX"}, (2, 5, 6)),
        ([np.ones((2, 3, 3, 3)), "sharpen"], {"axes": "CYX"}, (3, 6, 7)),
        ("box:3", {"channels": "sum", "axes": "YXC"}, (5, 6, 3)),
        ("temporal-mean:3", {"axes": "TYX"}, (5, 4, 4)),
        ("unsharp", {"pad_mode": "antireflect"}, (7, 6)),
        ("edge", {"axis": "y"}, (6, 5)),
    ],
)
def test_gradients_are_the_differences_of_results(
    kernel: Any, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """``gradcheck`` moves each sample a little and looks at what ``filter`` itself computes."""
    assert torch.autograd.gradcheck(lambda x: filtered(x, kernel, **options), (randoms(*shape),))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "auto"}, "engine='torch' keeps them, and tensor.detach"),
        ({"pool": "max:2"}, "gradients are of convolutions"),
        ({"range": "minmax"}, "gradients are of convolutions"),
        ({"region": (0, 0, 2, 2)}, "gradients are of convolutions"),
    ],
)
def test_what_has_no_gradient_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        filtered(randoms(6, 6), "box:3", **options)


def test_without_gradients_all_is_as_before() -> None:
    x = randoms(6, 6)
    with torch.no_grad():
        assert filtered(x, "box:3").grad_fn is None
        torch.testing.assert_close(convcli.filter(x, "box:3"), filtered(x.detach(), "box:3"))
    assert filtered(x, "box:3").grad_fn is not None  # also of a plan that is known already
    assert filtered(x, "box:3").grad_fn is not None
