"""Layers, their grammar and chains of them, beside torch's own modules and the textbooks' numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convcli.common.errors import UsageError
from convcli.geometry.grammar import parse_layer, parse_layers, parse_pool, parse_size
from convcli.geometry.graph import trace
from convcli.geometry.layers import Conv, Pool, format_size
from convcli.geometry.padding import PaddingName
from convcli.geometry.pools import AVG, MAX, MIN
from convcli.geometry.windows import TransposedWindow, Window

SETTINGS = settings(max_examples=80, deadline=None, derandomize=True)


def run(size: str, *layers: str):
    channels, sizes = parse_size(size)
    return trace(parse_layers(layers), channels, sizes)


def last(size: str, *layers: str) -> str:
    return run(size, *layers)[-1].output


# --- The textbooks' numbers


@pytest.mark.parametrize(
    ("size", "layer", "expected"),
    [
        ("7", "conv:3", "5"),
        ("3", "tconv:3", "5"),
        ("5x5", "conv:3", "3x3"),
        ("5x5", "conv:3,s=2", "2x2"),
        ("2x2", "tconv:2,s=2", "4x4"),
        ("20x20", "conv:7", "14x14"),
        ("3@32x32", "conv:6@5x5", "6@28x28"),
        ("3@224x224", "conv:64@7,s=2,p=3", "64@112x112"),
        ("64@112x112", "pool:max:3,s=2,p=1", "64@56x56"),
        ("2048@7x7", "gpool:avg", "2048@1x1"),
        ("16x112x112", "conv:8@3x7x7,s=1x2x2,p=1x3x3", "8@16x56x56"),
    ],
)
def test_sizes_of_the_textbooks(size, layer, expected):
    assert last(size, layer) == expected


def test_first_layer_of_lenet():
    (row,) = run("3@32x32", "conv:6@5x5")
    assert (row.output, row.parameters, row.multiply_adds) == ("6@28x28", 456, 352_800)


def test_all_of_lenet():
    """LeCun et al. 1998, with dense second and third convolutions; C5 has 48120 trainable parameters there."""
    rows = run("1@32x32", "conv:6@5x5", "pool:avg:2", "conv:16@5x5", "pool:avg:2", "conv:120@5x5")
    assert [row.output for row in rows] == ["6@28x28", "6@14x14", "16@10x10", "16@5x5", "120@1x1"]
    assert [row.parameters for row in rows] == [156, 0, 2416, 0, 48120]
    assert rows[0].multiply_adds == 122_304 - 6 * 28 * 28  # its connections, without those of the biases
    assert [row.field for row in rows] == [(5, 5), (6, 6), (14, 14), (16, 16), (32, 32)]
    assert [row.jump for row in rows] == [(1, 1), (2, 2), (2, 2), (4, 4), (4, 4)]
    assert [row.start[0] for row in rows] == [
        2,
        Fraction(5, 2),
        Fraction(13, 2),
        Fraction(15, 2),
        Fraction(31, 2),
    ]


def test_unused_elements_at_the_end():
    (row,) = run("5x7", "conv:3,s=3")
    assert row.unused == (2, 1)
    assert row.output == "1x2"


# --- Torch's modules


@SETTINGS
@given(st.data())
def test_chain_is_a_network_of_torch(data):
    draw = data.draw
    rank = draw(st.integers(1, 3))
    convs = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
    tconvs = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 1]
    pools = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[rank - 1]

    def axes(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank)))

    def text(values: tuple[int, ...]) -> str:
        return "x".join(map(str, values))

    channels, sizes = draw(st.integers(1, 3)), axes(13, 17)
    layers, modules, made = [], [], channels
    for kind in draw(st.lists(st.sampled_from(["conv", "tconv", "pool"]), min_size=1, max_size=3)):
        k, s, p = axes(1, 3), axes(1, 2), draw(st.integers(0, 1))
        if kind == "pool":
            k = tuple(n + 1 for n in k)
            layers.append(f"pool:max:{text(k)},s={text(s)},p={p},ceil")
            modules.append(pools(k, s, p, ceil_mode=True))
            continue
        out, d = draw(st.integers(1, 4)), axes(1, 2)
        layers.append(f"{kind}:{out}@{text(k)},s={text(s)},p={p},d={text(d)}")
        module = convs if kind == "conv" else tconvs
        modules.append(module(made, out, k, s, p, dilation=d))
        made = out
    try:
        result = nn.Sequential(*modules)(torch.zeros(1, channels, *sizes))
    except RuntimeError:  # a kernel larger than its input
        with pytest.raises(UsageError, match=r"^layer [123] "):
            run(format_size(channels, sizes), *layers)
        return
    rows = run(format_size(channels, sizes), *layers)
    assert (rows[-1].channels, rows[-1].sizes) == (result.shape[1], tuple(result.shape[2:]))
    for row, module in zip(rows, modules, strict=True):
        assert row.parameters == sum(p.numel() for p in module.parameters())


def test_multiply_adds_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    layers = [nn.Conv2d(3, 4, (3, 2), 2, 1, dilation=(1, 2)), nn.ConvTranspose2d(4, 5, (2, 3), (2, 1), 1)]
    with FlopCounterMode(display=False) as counter:
        nn.Sequential(*layers)(torch.zeros(1, 3, 11, 14))
    rows = run("3@11x14", "conv:4@3x2,s=2,p=1,d=1x2", "tconv:5@2x3,s=2x1,p=1")
    assert 2 * sum(row.multiply_adds for row in rows) == counter.get_total_flops()


# --- Channels


def test_channels_appear_only_when_given():
    assert last("32x32", "conv:5") == "28x28"
    assert last("32x32", "conv:6@5", "pool:max:2") == "6@14x14"
    assert last("3@32x32", "pool:max:2") == "3@16x16"
    assert last("3@32x32", "conv:5") == "1@28x28"  # one map over all channels, as filter does
    assert last("32x32", "pool:max:2", "conv:3") == "14x14"


def test_channels_that_were_not_given_count_as_one():
    assert run("32x32", "conv:5")[0].parameters == 26
    assert run("32x32", "conv:6@5")[0].parameters == 156
    assert run("3@32x32", "conv:5")[0].parameters == 76


# --- The grammar


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("conv:5", Conv((5,))),
        ("conv:6@5x3,s=2x1,p=1:0x2,d=3", Conv((5, 3), 6, (2, 1), (3,), ((1, 0), (2, 2)))),
        ("conv:3,same", Conv((3,), padding=(PaddingName.SAME,))),
        ("conv:3,p=same-upper", Conv((3,), padding=(PaddingName.SAME_UPPER,))),
        ("conv:3,p=samexvalid", Conv((3,), padding=(PaddingName.SAME, PaddingName.VALID))),
        (
            "tconv:8@4,s=2,p=1,op=1x0",
            Conv((4,), 8, (2,), padding=((1, 1),), transposed=True, output_padding=(1, 0)),
        ),
        ("pool:max:2", Pool(MAX, (2,))),
        ("pool:avg:3,s=2,p=1,d=2,ceil", Pool(AVG, (3,), (2,), (2,), ((1, 1),), ceil=True)),
        ("pool:min:2x3,s=1,include", Pool(MIN, (2, 3), (1,), include_padding=True)),
        ("gpool:max", Pool(MAX, None)),
    ],
)
def test_layers_are_read_and_written(text, layer):
    assert parse_layer(text) == layer
    assert parse_layer(str(layer)) == layer


@pytest.mark.parametrize(
    ("text", "pool"),
    [
        ("max:2", Pool(MAX, (2,))),
        ("avg:3,s=2", Pool(AVG, (3,), (2,))),
        ("min:2,ceil", Pool(MIN, (2,), ceil=True)),
        (
            "max:2x3,s=2x1,p=1,d=1,include",
            Pool(MAX, (2, 3), (2, 1), (1,), ((1, 1),), include_padding=True),
        ),
        ("global-max", Pool(MAX, None)),
        ("global-avg", Pool(AVG, None)),
        ("global-min", Pool(MIN, None)),
    ],
)
def test_pools_are_read(text, pool):
    assert parse_pool(text) == pool


def test_sizes_are_read_and_written():
    assert parse_size("3@32x32") == (3, (32, 32))
    assert parse_size("100") == (None, (100,))
    assert parse_size("2@4x5x6") == (2, (4, 5, 6))
    assert format_size(2, (4, 5, 6)) == "2@4x5x6"


# --- Windows


def test_one_number_is_every_axis():
    assert Conv((3,), stride=(2,)).windows((8, 9)) == (Window(3, 2), Window(3, 2))
    assert Conv((3, 5), stride=(2, 1)).windows((8, 9)) == (Window(3, 2), Window(5, 1))
    assert Conv((3,), origin=(0, 2), padding=(PaddingName.SAME,)).windows((8, 9)) == (
        Window(3, after=2),
        Window(3, before=2),
    )
    assert Conv((3,), stride=(2,), padding=((1, 0),), transposed=True, output_padding=(1,)).windows((8,)) == (
        TransposedWindow(3, 2, before=1, output_padding=1),
    )
    assert Pool(MAX, (2, 3)).windows((8, 9)) == (Window(2, 2), Window(3, 3))
    assert Pool(MAX, (2, 3), stride=(1,)).windows((8, 9)) == (Window(2), Window(3))
    assert Pool(MAX, None).windows((8, 9)) == (Window(8), Window(9))


# --- What cannot be


@pytest.mark.parametrize(
    ("size", "layers", "message"),
    [
        (
            "32x32",
            ["conv:5", "pool:max:2", "conv:19,d=2"],
            "layer 3 (conv:19,d=2): kernel 19 (extent 37 with dilation 2) is larger than the input 14 "
            "with padding 0:0: 23 more needed",
        ),
        (
            "9",
            ["pool:max:12"],
            "layer 1 (pool:max:12): kernel 12 is larger than the input 9 with padding 0:0",
        ),
        ("7x7", ["conv:3x3x3"], "layer 1 (conv:3x3x3): kernel 3,3,3 has 3 values for 2 axes"),
        ("7", ["conv:3", "conv:3,s=2x1"], "layer 2 (conv:3,s=2x1): stride 2,1 has 2 values for 1 axis"),
        ("7", ["tconv:3,same,op=1"], "layer 1 (tconv:3,p=same,op=1): output padding 1 cannot be combined"),
        (
            "7",
            ["conv:3", "conv:3,s=0"],
            "layer 2 (conv:3,s=0): stride 0 is not possible: give 1 or more",
        ),
        ("7", ["pool:max:0"], "layer 1 (pool:max:0): pool size 0 is not possible: give 1 or more"),
        ("7", ["conv:0@3"], "layer 1 (conv:0@3): channels 0 is not possible: give 1 or more"),
        ("7", ["conv:3,p=-1"], "layer 1 (conv:3,p=-1): padding -1 is not possible: give 0 or more"),
        ("7", ["cov:3"], "layer 1 (cov:3): 'cov:3' is not a layer: use conv:5, conv:6@5x5, tconv:3,s=2"),
        ("7", ["conv"], "layer 1 (conv): kernel '' is not a number"),
        (
            "7",
            ["stft:25ms"],
            "layer 1 (stft:25ms): a spectrogram is no layer: `convcli filter FILE -k stft:25ms --dry-run` says",
        ),
        ("7", ["pool:global-max"], "layer 1 (pool:global-max): 'pool:global-max' is not a layer"),
        (
            "7",
            ["pool:sum:2"],
            "layer 1 (pool:sum:2): pool 'sum:2' is unknown: use max:2 or global-max; kinds are max, avg, min, median",
        ),
        ("7", ["gpool:max:2"], "layer 1 (gpool:max:2): pool 'global-max:2' is unknown"),
        (
            "7",
            ["conv:3,q=1"],
            "layer 1 (conv:3,q=1): option 'q=1' is unknown: use s=, p=, d= or a padding name",
        ),
        ("7", ["conv:3,op=1"], "layer 1 (conv:3,op=1): option 'op=1' is unknown: use s=, p=, d= or"),
        ("7", ["conv:3,ceil"], "layer 1 (conv:3,ceil): option 'ceil' is unknown"),
        (
            "7",
            ["pool:max:2,ceil=1"],
            "layer 1 (pool:max:2,ceil=1): option 'ceil=1' is unknown: use s=, p=, d=, ceil",
        ),
        ("7", ["conv:3,s"], "layer 1 (conv:3,s): option 's' is unknown"),
        ("7", ["conv:3,s=1,s=2"], "layer 1 (conv:3,s=1,s=2): option 's=2' says s a second time"),
        ("7", ["conv:3,same,p=1"], "layer 1 (conv:3,same,p=1): option 'p=1' says p a second time"),
        ("0", ["conv:1"], "size 0 is not possible: give 1 or more"),
        ("2@3@4", ["conv:1"], "channels '2@3' is not a number"),
        ("1x1x1x1", ["conv:1"], "size '1x1x1x1' is not possible: use 1 to 3 axes"),
        ("2x3@5", ["conv:1"], "size '2x3@5' is not possible"),
        ("-5", ["conv:1"], "size -5 is not possible: give 1 or more"),
    ],
)
def test_errors_name_the_layer_and_the_value(size, layers, message):
    with pytest.raises(UsageError) as error:
        run(size, *layers)
    assert str(error.value).startswith(message)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    "text", ["", "max", "max:", "2", "global-max:", "global-max,s=2", "MAX:2", "max:2,q", "max:a"]
)
def test_bad_pools_are_refused(text):
    with pytest.raises(UsageError) as error:
        parse_pool(text)
    assert "pool" in str(error.value) or "option" in str(error.value)
