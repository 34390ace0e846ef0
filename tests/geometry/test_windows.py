"""Sizes, ranges and fields beside torch, numpy and ONNX; nothing here is compared with our own formulas."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

import convcli
from convcli.common.errors import UsageError
from convcli.common.numbers import parse_numbers, per_axis
from convcli.geometry.padding import PaddingName, PadMode, parse_pad_mode, parse_padding
from convcli.geometry.windows import Field, TransposedWindow, Window, transposed_window, window
from tests import pad_modes

SETTINGS = settings(max_examples=120, deadline=None, derandomize=True)
sizes = st.integers(1, 12)
kernels = st.integers(1, 5)
steps = st.integers(1, 4)
amounts = st.integers(0, 6)


def ones(k: int) -> torch.Tensor:
    return torch.ones(1, 1, k, dtype=torch.float64)


def torch_conv(padded: torch.Tensor, w: Window) -> torch.Tensor:
    return F.conv1d(padded, ones(w.kernel), stride=w.stride, dilation=w.dilation)


def torch_transposed(x: torch.Tensor, w: TransposedWindow) -> torch.Tensor:
    full = F.conv_transpose1d(x, ones(w.kernel), stride=w.stride, dilation=w.dilation)
    return F.pad(full, (-w.before, -w.after + w.output_padding))


def touched(outputs: torch.Tensor, x: torch.Tensor) -> list[int]:
    """Return the positions of ``x`` that change when any of ``outputs`` does."""
    (gradient,) = torch.autograd.grad(outputs.sum(), x, retain_graph=True, allow_unused=True)
    return [] if gradient is None else gradient.flatten().nonzero().flatten().tolist()


# --- Windows


@SETTINGS
@given(sizes, kernels, steps, steps, amounts, amounts, st.data())
def test_window_is_the_convolution_of_torch(n, k, s, d, before, after, data):
    w = Window(k, s, d, before, after)
    padded = torch.zeros(1, 1, before + n + after, dtype=torch.float64, requires_grad=True)
    if before + n + after < w.extent:
        with pytest.raises(UsageError, match=f"{w.extent - before - n - after} more needed"):
            w.output_size(n)
        return
    out = torch_conv(padded, w)
    assert w.output_size(n) == out.shape[-1]

    start = data.draw(st.integers(0, out.shape[-1] - 1))
    stop = data.draw(st.integers(start + 1, out.shape[-1]))
    seen = touched(out[..., start:stop], padded)
    assert w.input_range(start, stop) == (seen[0] - before, seen[-1] + 1 - before)
    assert w.unused(n) == len([i for i in range(before, before + n) if i > touched(out, padded)[-1]])
    assert w.input_range(start, start) == (start * s - before,) * 2


@SETTINGS
@given(sizes, kernels, steps, steps, st.data())
def test_ceil_is_the_pool_of_torch(n, k, s, d, data):
    p = data.draw(st.integers(0, k // 2))  # all that torch allows
    w = Window(k, s, d, p, p, ceil=True)
    x = torch.rand(1, 1, n, dtype=torch.float64)
    try:
        expected = F.max_pool1d(x, k, s, p, d, ceil_mode=True).shape[-1]
    except RuntimeError:  # "Output size is too small"
        with pytest.raises(UsageError, match="larger than the input"):
            w.output_size(n)
    else:
        assert w.output_size(n) == expected


def onnx_size(op: str, n: int, k: int, **attributes) -> int:
    """Return the size that ONNX's shape inference gives."""
    value = onnx.helper.make_tensor_value_info
    inputs = [value("x", onnx.TensorProto.FLOAT, [1, 1, n])]
    if "Conv" in op:
        inputs.append(value("w", onnx.TensorProto.FLOAT, [1, 1, k]))
    node = onnx.helper.make_node(op, [i.name for i in inputs], ["y"], kernel_shape=[k], **attributes)
    graph = onnx.helper.make_graph([node], "g", inputs, [value("y", onnx.TensorProto.FLOAT, None)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)])
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return inferred.graph.output[0].type.tensor_type.shape.dim[2].dim_value


@SETTINGS
@given(sizes, kernels, steps, steps, st.data())
def test_ceil_with_uneven_padding_is_the_pool_of_onnx(n, k, s, d, data):
    before, after = data.draw(st.integers(0, k - 1)), data.draw(st.integers(0, k - 1))
    w = Window(k, s, d, before, after, ceil=True)
    if n + before + after < w.extent:
        return  # ONNX does not say
    attributes = {"strides": [s], "dilations": [d], "pads": [before, after], "ceil_mode": 1}
    assert w.output_size(n) == onnx_size("MaxPool", n, k, **attributes)


def test_unused_counts_the_end_of_the_data():
    assert Window(3, stride=3).unused(5) == 2
    assert Window(3, stride=3, after=1).unused(5) == 0
    assert Window(3, stride=3, before=1).unused(5) == 0
    assert Window(1, before=9, stride=9).unused(5) == 4
    assert Window(1, before=9, stride=99).unused(5) == 5  # the only window lies in the padding
    assert Window(3, stride=2, ceil=True).unused(6) == 0
    assert TransposedWindow(1, after=2).unused(5) == 2


# --- Transposed windows


@SETTINGS
@given(sizes, kernels, steps, steps, amounts, amounts, st.integers(0, 3), st.data())
def test_transposed_window_is_the_convolution_of_torch(n, k, s, d, before, after, extra, data):
    w = TransposedWindow(k, s, d, before, after, extra)
    x = torch.ones(1, 1, n, dtype=torch.float64, requires_grad=True)
    full = (n - 1) * s + d * (k - 1) + 1
    size = full - before - after + extra
    assume(size < 1 or before + after < full)  # else nothing but output padding is left, which torch refuses
    if size < 1:
        with pytest.raises(UsageError, match=f"{1 - size} too many"):
            w.output_size(n)
        return
    if before == after and extra < max(s, d):
        real = F.conv_transpose1d(x, ones(k), stride=s, padding=before, output_padding=extra, dilation=d)
        assert w.output_size(n) == real.shape[-1]
    out = torch_transposed(x, w)
    assert w.output_size(n) == out.shape[-1]

    start = data.draw(st.integers(0, out.shape[-1] - 1))
    stop = data.draw(st.integers(start + 1, out.shape[-1]))
    lo, hi = w.input_range(start, stop)
    seen = touched(out[..., start:stop], x)
    within = [i for i in range(lo, hi) if 0 <= i < n]
    assert set(seen) <= set(within)
    if d == 1:
        assert seen == within
        assert w.unused(n) == n - 1 - max(touched(out, x), default=-1)


@SETTINGS
@given(sizes, kernels, steps, steps, amounts, st.data())
def test_input_range_of_a_transposed_window_is_exact_without_dilation(n, k, s, start, before, data):
    w = TransposedWindow(k, s, 1, before)
    start = data.draw(st.integers(0, n * s))
    reaching = [i for i in range(-40, 80) if i * s <= start + before < i * s + k]
    lo, hi = w.input_range(start, start + 1)
    assert list(range(lo, hi)) == reaching
    assert w.input_range(start, start) == (lo, lo)


# --- Names of padding


def delta(k: int, origin: int) -> torch.Tensor:
    weights = torch.zeros(1, 1, k, dtype=torch.float64)
    weights[..., origin] = 1
    return weights


@SETTINGS
@given(sizes, kernels, steps, steps, st.data())
def test_same_keeps_every_stride_th_sample(n, k, s, d, data):
    origin = data.draw(st.integers(0, k - 1))
    w = window(n, k, stride=s, padding=PaddingName.SAME, dilation=d, origin=origin)
    x = torch.rand(1, 1, n, dtype=torch.float64)
    out = F.conv1d(F.pad(x, (w.before, w.after)), delta(k, origin), stride=s, dilation=d)
    assert w.before + w.after == d * (k - 1)
    assert torch.equal(out, x[..., ::s])
    assert w.output_size(n) == out.shape[-1] == -(-n // s)
    assert [w.origin_index(o, origin) for o in range(out.shape[-1])] == list(range(0, n, s))


@SETTINGS
@given(sizes, kernels, steps, steps, st.data())
def test_transposed_same_puts_every_sample_on_its_stride(n, k, s, d, data):
    origin = data.draw(st.integers(0, k - 1))
    w = transposed_window(n, k, stride=s, padding=PaddingName.SAME, dilation=d, origin=origin)
    x = torch.rand(1, 1, n, dtype=torch.float64)
    full = F.conv_transpose1d(x, delta(k, origin), stride=s, dilation=d)
    out = F.pad(full, (-w.before, -w.after + w.output_padding))
    assert w.output_size(n) == out.shape[-1] == n * s
    assert torch.equal(out[..., ::s], x)
    assert [w.origin_index(i * s, origin) for i in range(n)] == list(range(n))


@pytest.mark.parametrize(
    ("k", "d", "expected"),
    [(3, 1, (1, 1)), (4, 1, (1, 2)), (2, 1, (0, 1)), (1, 1, (0, 0)), (4, 2, (2, 4)), (5, 3, (6, 6))],
)
def test_same_puts_the_extra_element_after(k, d, expected):
    w = window(100, k, padding=PaddingName.SAME, dilation=d, stride=3)
    assert (w.before, w.after) == expected


@SETTINGS
@given(sizes, kernels, steps, steps)
def test_same_upper_and_lower_are_those_of_onnx(n, k, s, d):
    upper, lower = (
        window(n, k, stride=s, padding=name, dilation=d)
        for name in (PaddingName.SAME_UPPER, PaddingName.SAME_LOWER)
    )
    total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)  # ONNX operators, Conv, auto_pad
    assert (upper.before, upper.after) == (lower.after, lower.before) == (total // 2, total - total // 2)
    for w, name in ((upper, "SAME_UPPER"), (lower, "SAME_LOWER")):
        assert w.output_size(n) == onnx_size("Conv", n, k, strides=[s], dilations=[d], auto_pad=name)


@SETTINGS
@given(sizes, kernels, steps, steps, st.integers(0, 3))
def test_transposed_same_upper_and_lower_are_those_of_onnx(n, k, s, d, extra):
    total = s * (n - 1) + extra + d * (k - 1) + 1 - n * s  # ONNX operators, ConvTranspose, pads
    for name, auto_pad in ((PaddingName.SAME_UPPER, "SAME_UPPER"), (PaddingName.SAME_LOWER, "SAME_LOWER")):
        w = transposed_window(n, k, stride=s, padding=name, dilation=d, output_padding=extra)
        assert w.output_size(n) == n * s
        if total >= 0 and not extra:  # elsewhere ONNX's inference and its text disagree
            attributes = {"strides": [s], "dilations": [d], "auto_pad": auto_pad}
            assert w.output_size(n) == onnx_size("ConvTranspose", n, k, **attributes)
        if total >= 0:
            small, large = total // 2, total - total // 2
            assert (w.before, w.after) == ((small, large) if auto_pad == "SAME_UPPER" else (large, small))


def test_valid_full_tail_and_numbers():
    amounts = {
        name: (window(9, 4, padding=name, dilation=2).before, window(9, 4, padding=name, dilation=2).after)
        for name in (PaddingName.VALID, PaddingName.FULL, PaddingName.TAIL)
    }
    assert amounts == {"valid": (0, 0), "full": (6, 6), "tail": (0, 6)}
    assert window(9, 4, padding=(3, 1)) == Window(4, before=3, after=1)
    assert transposed_window(3, 3, padding=PaddingName.VALID).output_size(3) == 5
    assert transposed_window(3, 3, padding=(1, 0)).output_size(3) == 4
    full = window(3, 3, padding=PaddingName.FULL)
    assert full.output_size(3) == len(np.convolve(np.ones(3), np.ones(3), "full"))


# --- Modes of padding


def test_every_mode_has_its_words_in_numpy():
    assert pad_modes.NUMPY.keys() == set(PadMode)


@pytest.mark.parametrize("mode", PadMode)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_modes_are_those_of_numpy_however_far_outside(mode, n):
    """Padding is linear, so that numpy's padding of the unit vectors gives every weight."""
    expected = pad_modes.padded(np.eye(n), ((23, 29), (0, 0)), mode)
    found = np.zeros_like(expected)
    for row, i in zip(found, range(-23, n + 29), strict=True):
        for sample, weight in mode.sources(i, n):
            row[sample] += weight
            assert weight != 0
        assert len(dict(mode.sources(i, n))) == len(mode.sources(i, n)), "a sample twice"
    assert (found == expected).all()
    gains = [
        np.abs(expected[23 - lo : 23 + n + hi]).sum(axis=1).max() for lo, hi in ((1, 0), (0, 1), (23, 29))
    ]
    assert [mode.gain(-lo, n + hi, n) for lo, hi in ((1, 0), (0, 1), (23, 29))] == gains
    assert n == 1 or (gains[-1] > 1) == (mode in pad_modes.BEYOND) == (not mode.stays_in_range)


@pytest.mark.parametrize("mode", [PadMode.ZERO, PadMode.CONSTANT])
def test_nothing_stands_outside_in_zero_and_constant(mode):
    assert mode.fills
    assert [mode.sources(i, 3) for i in (-2, -1, 3, 4)] == [()] * 4
    assert [mode.fill(7.0) for mode in PadMode if mode.takes_value] == [7.0]
    assert PadMode.ZERO.fill(7.0) == 0


@pytest.mark.parametrize("mode", PadMode)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 10])
def test_a_stretch_of_the_data_padded_alone_is_as_all_of_it(mode, n):
    def alone(lo, hi, a, b):
        parts = [mode.sources(i - a, b - a) for i in range(lo, hi)]
        return [tuple((sample + a, weight) for sample, weight in terms) for terms in parts]

    for lo, length in product(range(-2 * n - 3, 3 * n + 2), (1, 2, 3, n, 2 * n)):
        hi = lo + length
        whole = [mode.sources(i, n) for i in range(lo, hi)]
        a, b = mode.support(lo, hi, n)
        assert 0 <= a < b <= n
        assert alone(lo, hi, a, b) == whole
        if b - a > 1 and lo < n and hi > 0:  # no shorter one does
            assert alone(lo, hi, a + 1, b) != whole
            assert alone(lo, hi, a, b - 1) != whole


def test_the_drawings_of_the_modes():
    drawn = {}
    for mode in PadMode:
        sources = [mode.sources(i, 4) for i in range(-2, 6)]
        values = [sum(weight * (sample + 1) for sample, weight in terms) for terms in sources]
        drawn[mode.value] = "".join(
            str(v) if terms else "-" for v, terms in zip(values, sources, strict=True)
        )
        assert mode.sources(0, 0) == ()
    assert drawn == {
        "zero": "--1234--",
        "constant": "--1234--",
        "replicate": "11123444",
        "reflect": "32123432",
        "symmetric": "21123443",
        "circular": "34123412",
        "antireflect": "-10123456",
    }


# --- Receptive fields

plain_windows = st.builds(Window, kernels, st.integers(1, 3), st.integers(1, 3), amounts, st.just(40))
touching = st.tuples(st.integers(1, 3), st.integers(0, 3)).flatmap(
    lambda pair: st.builds(
        TransposedWindow, st.just(sum(pair)), st.just(pair[0]), st.just(1), st.integers(0, 2)
    )
)


def hulls(chain: list, n: int, count: int) -> list[tuple[int, int]]:
    """Return the inputs lo:hi that each of the first ``count`` outputs of a chain sees, by torch's gradient.

    The signal continues ``n`` elements to both sides of element 0, so that nothing lies outside.
    """
    x = torch.ones(1, 1, 2 * n + 1, dtype=torch.float64, requires_grad=True)
    y, zero = x, n  # where the layer's element 0 lies in y
    for w in chain:
        if isinstance(w, Window):
            shift = (zero - w.before) % w.stride
            y, zero = torch_conv(y[..., shift:], w), (zero - w.before - shift) // w.stride
        else:
            y = torch_transposed(y, TransposedWindow(w.kernel, w.stride, w.dilation))
            zero = zero * w.stride + w.before
    seen = [touched(y[..., zero + o : zero + o + 1], x) for o in range(count)]
    return [(s[0] - n, s[-1] + 1 - n) for s in seen]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(plain_windows, max_size=4))
def test_field_of_a_chain_of_windows(chain):
    field = Field()
    for w in chain:
        field = field.through(w)
    seen = hulls(chain, 500, 4)
    assert [field.of(o) for o in range(4)] == seen
    assert {hi - lo for lo, hi in seen} == {field.size}
    assert [Fraction(lo + hi - 1, 2) for lo, hi in seen] == [field.start + o * field.jump for o in range(4)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(plain_windows.filter(lambda w: w.dilation == 1) | touching, min_size=1, max_size=3))
def test_field_of_a_chain_with_transposed_windows(chain):
    field, jump, slack = Field(), Fraction(1), Fraction(0)
    period = 1
    for w in chain:
        if isinstance(w, TransposedWindow):
            slack += field.jump / 2
            period *= w.stride
        field = field.through(w)
        jump = jump * w.stride if isinstance(w, Window) else jump / w.stride
    seen = hulls(chain, 120, 2 * period)
    assert [field.of(o) for o in range(2 * period)] == seen
    assert field.size == max(hi - lo for lo, hi in seen)
    assert field.jump == jump == Fraction(seen[period][0] - seen[0][0], period)
    for o, (lo, hi) in enumerate(seen):
        assert abs(Fraction(lo + hi - 1, 2) - (field.start + o * jump)) <= slack


@SETTINGS
@given(touching)
def test_field_of_one_transposed_window_is_centred_in_the_mean(w):
    field = Field().through(w)
    centres = [Fraction(lo + hi - 1, 2) for lo, hi in hulls([w], 30, w.stride)]
    line = [field.start + o * field.jump for o in range(w.stride)]
    assert sum(centres) == sum(line)


def test_field_of_known_networks():
    def field(*windows):
        chain = Field()
        for w in windows:
            chain = chain.through(w)
        return chain.size, chain.jump, chain.start

    assert field(Window(3), Window(3)) == (5, 1, 2)
    # VGG-16 up to pool5, 212 (Araujo et al. 2019, table)
    conv, pool = Window(3, before=1, after=1), Window(2, stride=2)
    vgg = [*[conv] * 2, pool, *[conv] * 2, pool, *([conv] * 3 + [pool]) * 3]
    assert field(*vgg)[:2] == (212, 32)
    # bilinear upsampling by 2: half-pixel centres
    assert field(TransposedWindow(4, stride=2, before=1, after=1)) == (2, Fraction(1, 2), Fraction(-1, 4))


# --- Bad numbers


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Window(3, stride=0), "stride 0 is not possible: give 1 or more"),
        (lambda: Window(0), "kernel size 0 is not possible: give 1 or more"),
        (lambda: Window(3, dilation=0), "dilation 0 is not possible: give 1 or more"),
        (lambda: Window(3, before=2, after=-1), "padding -1 is not possible: give 0 or more"),
        (
            lambda: TransposedWindow(3, output_padding=-2),
            "output padding -2 is not possible: give 0 or more",
        ),
        (
            lambda: window(7, 5, dilation=2).output_size(7),
            "kernel 5 (extent 9 with dilation 2) is larger than the input 7 with padding 0:0: 2 more needed",
        ),
        (
            lambda: window(2, 5, padding=(1, 0)).output_size(2),
            "kernel 5 is larger than the input 2 with padding 1:0: 2 more needed",
        ),
        (
            lambda: transposed_window(2, 3, padding=(3, 2)).output_size(2),
            "padding 3:2 crops all of the transposed output 4 (kernel 3 on the input 2): 2 too many",
        ),
        (
            lambda: transposed_window(2, 3, padding=PaddingName.TAIL),
            "padding tail has no meaning for a transposed convolution, where padding crops: "
            "use valid, same, same-lower, same-upper or numbers",
        ),
        (
            lambda: transposed_window(2, 3, padding=PaddingName.SAME, output_padding=1, stride=2),
            "output padding 1 cannot be combined with padding same, which keeps input times stride (4): "
            "leave one of them out",
        ),
        (lambda: window(5, 3, origin=3), "origin 3 lies outside a kernel of 3: use 0 to 2"),
        (lambda: per_axis((1, 2, 3), 2, "stride"), "stride 1,2,3 has 3 values for 2 axes"),
        (lambda: per_axis(((1, 0), (2, 2)), 1, "padding"), "padding 1:0,2:2 has 2 values for 1 axis"),
        (lambda: parse_numbers("2,a", "stride"), "stride '2,a' is not a number"),
        (lambda: parse_numbers("", "stride"), "stride '' is not a number"),
        (lambda: parse_numbers("1.5", "stride"), "stride '1.5' is not a number"),
        (lambda: parse_numbers("2,0", "stride"), "stride 0 is not possible: give 1 or more"),
        (
            lambda: parse_padding("SAME"),
            "padding 'SAME' is unknown: use valid, full, same, same-lower, same-upper",
        ),
        (lambda: parse_padding("1:"), "padding '1:' is unknown"),
        (lambda: parse_padding("1:2:3"), "padding '1:2:3' is unknown"),
        (lambda: parse_padding("-1"), "padding -1 is not possible: give 0 or more"),
        (lambda: parse_padding("0:-3"), "padding -3 is not possible: give 0 or more"),
        (
            lambda: parse_pad_mode("edges"),
            "pad mode 'edges' is unknown: it is one of zero, constant, replicate, reflect",
        ),
    ],
)
def test_what_cannot_be_is_said_with_the_value(make, message):
    with pytest.raises(UsageError) as error:
        make()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_pad_modes_by_their_names_in_numpy_and_scipy():
    """But for "reflect", which is numpy's: scipy's repeats the edge, and is symmetric here."""
    theirs = {
        options["mode"]: mode for mode, options in pad_modes.NUMPY.items() if "reflect_type" not in options
    }
    theirs["constant"] = "constant"
    for name, mode in {**{name: mode for mode, name in pad_modes.SCIPY.items()}, **theirs}.items():
        assert parse_pad_mode(name) == mode
    assert (
        parse_pad_mode("BORDER_REFLECT") is PadMode.SYMMETRIC
    )  # fedcba|abcdefgh|hgfedcb, as OpenCV documents it
    assert parse_pad_mode("BORDER_REFLECT_101") is PadMode.REFLECT  # gfedcb|abcdefgh|gfedcba
    x = np.arange(5.0)
    for name in ("grid-constant", "grid-mirror", "grid-wrap"):
        want = ndimage.correlate1d(x, [1.0, 2, 5], mode=name)
        np.testing.assert_array_equal(convcli.filter(x, "1,2,5", axes="X", pad_mode=name), want)


def test_parsing():
    assert parse_padding("1") == ((1, 1),)
    assert parse_padding("1:0,2:2") == parse_padding("1:0x2") == ((1, 0), (2, 2))
    assert parse_padding("same, valid") == (PaddingName.SAME, PaddingName.VALID)
    assert [parse_padding(name.value) for name in PaddingName] == [(name,) for name in PaddingName]
    assert parse_numbers("0", "output padding", minimum=0) == (0,)
    assert parse_numbers("2x1", "stride") == parse_numbers("2, 1", "stride") == (2, 1)
    assert [parse_pad_mode(mode.value) for mode in PadMode] == list(PadMode)
    assert per_axis((2, 1), 2, "stride") == (2, 1)
