"""``shape --want`` and ``--compare``: searched again by brute force with torch, checked by torch and ONNX."""

from __future__ import annotations

import json
import warnings

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from convcli.common.errors import ConvError
from convcli.geometry.frameworks import Answer, compare, reasons
from convcli.geometry.grammar import parse_layer
from convcli.geometry.graph import trace
from convcli.geometry.layers import Conv
from convcli.geometry.padding import PaddingName
from convcli.geometry.search import remarks, search
from tests.shell import convcli, ok

NOTHING: frozenset[str] = frozenset()


def found(layer: str, sizes: tuple[int, ...], wanted: tuple[int, ...], fixed: str = "") -> list[str]:
    chain = parse_layer(layer)
    return [str(choice) for choice in search(chain, frozenset(fixed.split()), None, sizes, wanted)]


# --want


def test_the_simplest_comes_first():
    assert found("conv:7", (224, 224), (112, 112))[0] == "conv:7,s=2,p=3"
    assert found("tconv:3", (4, 4), (8, 8))[0] == "tconv:3,s=2,p=1,op=1"
    assert found("conv:5", (32, 32), (28, 28))[0] == "conv:5"
    assert found("pool:max:3", (9,), (5,))[0] == "pool:max:3,s=2,p=1"
    assert found("pool:max:3", (8,), (3,))[0] == "pool:max:3,s=2" and "pool:max:3,ceil" in found(
        "pool:max:3", (8,), (3,)
    )


def test_every_choice_of_torch_is_found_and_no_other():
    expected = set()
    x = torch.empty(1, 1, 17, device="meta")
    for stride in range(1, 5):
        for dilation in range(1, 4):
            for padding in range(3 * dilation + 1):
                weights = torch.empty(1, 1, 4, device="meta")
                try:
                    out = torch.conv1d(x, weights, stride=stride, padding=padding, dilation=dilation)
                except RuntimeError:
                    continue
                if out.shape[-1] == 9:
                    expected.add(str(Conv((4,), None, (stride,), (dilation,), ((padding, padding),))))
    assert {text for text in found("conv:4", (17,), (9,)) if ":" not in text.split(",", 1)[-1]} == expected
    assert len(expected) > 3


def test_every_transposed_choice_of_torch_is_found():
    expected = set()
    x, weights = torch.empty(1, 1, 5, device="meta"), torch.empty(1, 1, 3, device="meta")
    for stride in range(1, 5):
        for dilation in range(1, 4):
            for padding in range(2 * dilation + 1):
                for extra in range(stride):
                    try:
                        out = torch.conv_transpose1d(
                            *(x, weights, None, stride, padding, extra), dilation=dilation
                        )
                    except RuntimeError:
                        continue
                    if out.shape[-1] == 10:
                        layer = Conv(
                            *((3,), None, (stride,), (dilation,), ((padding, padding),)),
                            transposed=True,
                            output_padding=(extra,),
                        )
                        expected.add(str(layer))
    assert {t for t in found("tconv:3", (5,), (10,)) if ":" not in t.split(",", 1)[-1]} == expected
    assert len(expected) > 3


def test_every_answer_gives_the_wanted_size():
    for layer, sizes, wanted in [
        ("conv:3", (10, 12), (5, 3)),
        ("pool:avg:2", (7, 9), (4, 5)),
        ("tconv:4x2", (5, 6), (10, 13)),
    ]:
        choices = search(parse_layer(layer), NOTHING, None, sizes, wanted)
        assert choices
        for choice in choices:
            assert trace([parse_layer(str(choice))], None, sizes)[0].sizes == wanted


def test_what_is_given_holds():
    assert found("conv:3,s=2", (32,), (16,), "stride")[0] == "conv:3,s=2,p=1"
    assert found("conv:3,p=same", (32,), (16,), "padding")[0] == "conv:3,s=2,p=1"
    with pytest.raises(ConvError, match="the nearest is 17"):
        found("conv:3,s=2,p=same", (33,), (16,), "padding stride dilation")


def test_one_setting_for_all_axes_where_that_is_possible():
    assert found("conv:3", (32, 16), (16, 8))[0] == "conv:3,s=2,p=1"
    assert found("conv:3", (10, 12), (5, 3))[0] == "conv:3,s=2x4,p=1x0"


def test_the_names_of_the_padding_are_told():
    choice = search(Conv((5,)), NOTHING, None, (20,), (20,))[0]
    assert str(choice) == "conv:5,p=2"
    assert set(choice.same_as) == {PaddingName.SAME, PaddingName.SAME_LOWER, PaddingName.SAME_UPPER}


def test_want_on_the_shell():
    done = ok("shape", "3@224x224", "--kernel-size", "7", "--want", "64@112x112")
    lines = done.stdout.decode().splitlines()
    assert lines[0].split() == ["layer", "output", "field", "unused", "the", "same", "as"]
    assert lines[1].split() == ["conv:64@7,s=2,p=3", "64@112x112", "7", "0", "p=same"]
    assert ok("shape", "32", "--kernel-size", "3", "--want", "16", "-q").stdout == b"conv:3,s=2,p=1\n"
    listed = json.loads(ok("shape", "32", "--kernel-size", "3", "--want", "16", "--json").stdout)
    assert listed[0] == {"layer": "conv:3,s=2,p=1", "output": "16", "same_as": ["same"]}


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        ("3@224x224 conv:64@7,s=2 --want 112x112", "conv:64@7,s=2,p=3"),
        ("32 conv:3 conv:3,same --want 15", "conv:3,s=2,p=1"),
        ("3@32x32 conv:6@5 pool:max:2 --want 6@7x7", "pool:max:2,s=4"),
    ],
)
def test_the_last_layer_of_a_chain_is_searched(arguments, first):
    assert ok("shape", *arguments.split(), "-q").stdout.decode() == f"{first}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("32", "--kernel-size", "3", "--want", "100"), 1, "makes 100 of 32 with conv:3: the nearest is 38"),
        (("32x32", "--kernel-size", "3", "--want", "16"), 2, "--want 16 has 1 axis and the input 32x32 2"),
        (
            ("3@9", "--kernel-size", "6@3", "--want", "4@9"),
            2,
            "--want 4@9 has 4 channels and the layer conv:6@3",
        ),
        (("9", "--kernel-size", "3", "--want", "0"), 2, "--want 0 is not possible"),
        (("9", "--kernel-size", "3", "--want", "5", "--compare"), 2, "cannot be combined"),
        (("32", "conv:3", "gpool:max", "--want", "16"), 2, "there is nothing to choose"),
        (("3x32x32", "conv:5"), 2, "(channels are written 3@32x32)"),
        (("3x32x32", "conv:5,5"), 2, "is unknown"),
        (("3x3", "conv:5"), 2, "2 more needed\n"),
        (("3x32x32", "conv:5x5"), 2, "(channels are written 3@32x32)"),
    ],
)
def test_refusals(arguments, code, message):
    done = convcli("shape", *arguments)
    assert done.returncode == code
    assert message in done.stderr.decode() and done.stderr.count(b"\n") == 1 and not done.stdout


# One-line explanations


def remark(layer: str, *sizes: int) -> list[str]:
    layers = [parse_layer(layer)]
    return remarks(layers, sizes, trace(layers, None, sizes))


def test_ceil_is_explained_where_it_matters():
    assert remark("pool:max:3,s=2", 8) == [
        "layer 1 (pool:max:3,s=2): 8 leaves 1 at the end unread; with ceil the output is 4 instead of 3"
    ]
    assert remark("pool:max:3,s=2,ceil", 8) == [
        "layer 1 (pool:max:3,s=2,ceil): ceil lets the last window hang over the end; "
        "without it the output is 3 instead of 4"
    ]
    assert remark("pool:max:3,s=2", 9) == remark("pool:max:3,s=2,ceil", 9) == remark("gpool:max", 8) == []


def test_the_transposed_ambiguity_is_explained_where_it_matters():
    (line,) = remark("tconv:3,s=2,p=1", 4)
    assert line.endswith(
        ": conv:3,s=2,p=1 makes 4 of every size from 7 to 8; op=0 gives 7 back, op=1 gives 8"
    )
    assert {
        n for n in range(3, 12) if trace([parse_layer("conv:3,s=2,p=1")], None, (n,))[0].sizes == (4,)
    } == {7, 8}
    assert remark("tconv:3", 4) == remark("tconv:3,s=2,same", 4) == []


def test_the_lines_go_to_stderr_and_into_json():
    done = ok("shape", "9", "pool:max:4,s=2")
    assert done.stdout.endswith(b"\n3\n") and done.stderr.count(b"\n") == 1 and b"with ceil" in done.stderr
    assert ok("shape", "9", "pool:max:4,s=2", "-q").stderr == b""
    assert len(json.loads(ok("shape", "9", "pool:max:4,s=2", "--json").stdout)["notes"]) == 1


# --compare

LAYERS = [
    "conv:3",
    "conv:3,s=2,p=1",
    "conv:4,same",
    "conv:5,s=3,same",
    "conv:4,d=2,same",
    "conv:2x5,s=2,p=1:0x2",
    "pool:max:3,s=2",
    "pool:max:3,s=2,p=1,ceil",
    "pool:avg:2,ceil",
    "tconv:3,s=2,p=1",
    "tconv:4,s=2,p=1,op=1",
    "tconv:3,same",
]
SIZES = [(8, 9), (11, 12)]


def answer(answers: list[Answer], who: str, setting: str) -> Answer | None:
    return next((a for a in answers if a.who == who and a.setting.startswith(setting)), None)


def torch_size(text: str, sizes: tuple[int, ...], padding: object) -> tuple[int, ...]:
    layer = parse_layer(text)
    windows = layer.windows(sizes)
    k, s, d = ([getattr(w, name) for w in windows] for name in ("kernel", "stride", "dilation"))
    x = torch.empty(1, 1, *sizes)
    if not isinstance(layer, Conv):
        pool = torch.max_pool2d if str(layer.kind) == "max" else torch.nn.functional.avg_pool2d
        return tuple(pool(x, k, s, padding, ceil_mode=layer.ceil).shape[2:])
    if layer.transposed:
        extra = [w.output_padding for w in windows]
        return tuple(torch.conv_transpose2d(x, torch.empty(1, 1, *k), None, s, padding, extra).shape[2:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its copy for even kernels
        return tuple(torch.conv2d(x, torch.empty(1, 1, *k), None, s, padding, d).shape[2:])


@pytest.mark.parametrize("text", LAYERS)
@pytest.mark.parametrize("sizes", SIZES)
def test_torch_gives_what_is_said(text, sizes):
    answers = compare(parse_layer(text), sizes)
    numbers = next(a for a in answers if a.who == "torch")
    if numbers.setting.startswith("padding=") and numbers.sizes and "slice" not in numbers.setting:
        assert torch_size(text, sizes, [before for before, _ in numbers.padding]) == numbers.sizes
    same = answer(answers, "torch", "padding='same'")
    if same is None:
        return
    if same.sizes is None:
        with pytest.raises(RuntimeError, match="not supported for strided"):
            torch_size(text, sizes, "same")
    else:
        assert torch_size(text, sizes, "same") == same.sizes


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (4, 1), (4, 2), (2, 3), (5, 2)])
def test_torchs_same_puts_its_padding_where_is_said(kernel, dilation):
    same = answer(compare(parse_layer(f"conv:{kernel},d={dilation},same"), (30,)), "torch", "padding='same'")
    x, weights = torch.zeros(1, 1, 30), torch.zeros(1, 1, kernel)
    x[..., 15] = weights[..., 0] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = torch.conv1d(x, weights, padding="same", dilation=dilation)
    before = int(out.argmax()) - 15  # the first tap meets input 15 in this output
    assert same is not None and same.padding == ((before, dilation * (kernel - 1) - before),)


@pytest.mark.parametrize("text", [text for text in LAYERS if "op=1" not in text])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("how", ["UPPER", "LOWER", None])
def test_onnx_gives_what_is_said(text, sizes, how):
    layer = parse_layer(text)
    answers = compare(layer, sizes)
    said = answer(answers, "ONNX", f"auto_pad=SAME_{how}" if how else "pads")
    windows = layer.windows(sizes)
    attributes = {"kernel_shape": [w.kernel for w in windows], "strides": [w.stride for w in windows]}
    convolves = isinstance(layer, Conv)
    if convolves:
        attributes["dilations"] = [w.dilation for w in windows]
    if how:
        attributes["auto_pad"] = f"SAME_{how}"
    else:
        assert said is not None and said.padding is not None
        attributes["pads"] = [before for before, _ in said.padding] + [after for _, after in said.padding]
    if not convolves and layer.ceil and how is None:
        attributes["ceil_mode"] = 1
    if convolves:
        name = "ConvTranspose" if layer.transposed else "Conv"
    else:
        name = {"max": "MaxPool", "avg": "AveragePool"}[str(layer.kind)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, *sizes])
    weights = [helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 1, *attributes["kernel_shape"]])]
    inputs = [x, *(weights if convolves else [])]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node(name, [one.name for one in inputs], ["y"], **attributes)
    model = helper.make_model(helper.make_graph([node], "g", inputs, [y]))
    inferred = (
        onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output[0].type.tensor_type.shape
    )
    assert said is not None and said.sizes == tuple(dim.dim_value for dim in inferred.dim[2:])


def test_keras_gives_what_its_documentation_says():
    # https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2: in 13, kernel 6, stride 5
    answers = compare(parse_layer("conv:6,s=5"), (13,))
    valid, same = answer(answers, "Keras", "padding='valid'"), answer(answers, "Keras", "padding='same'")
    assert valid == Answer("Keras", "padding='valid'", ((0, 0),), (2,))
    assert same is not None and (same.padding, same.sizes) == (((1, 2),), (3,))
    answers = compare(
        parse_layer("tconv:2,s=4"), (9,)
    )  # deconv_output_length in Keras: 9 * 4 + max(2 - 4, 0)
    assert [a.sizes for a in answers if a.who == "Keras"] == [(36,), (36,)]
    answers = compare(parse_layer("tconv:5,s=2"), (9,))
    assert [a.sizes for a in answers if a.who == "Keras"] == [(21,), (18,)]
    answers = compare(parse_layer("conv:3,s=2,d=2"), (20,))
    assert [a.sizes for a in answers if a.who == "Keras"] == [None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv:3,s=2,same", "their windows start elsewhere"),
        ("conv:4,d=2,same", "torch halves the padding (3)"),
        ("tconv:3,s=2,p=1", "a transposed size is not unique"),
        ("conv:3,p=1", "valid means no padding"),
        ("conv:4,same", "an odd element of padding goes after with Keras, torch and SAME_UPPER"),
    ],
)
def test_why_they_differ(text, reason):
    layer = parse_layer(text)
    assert reason in " ".join(reasons(layer, compare(layer, (8, 8))))


def test_no_reason_where_all_agree():
    layer = parse_layer("gpool:max")
    assert reasons(layer, compare(layer, (8, 8))) == []


def test_compare_says_where_a_pool_is_missing():
    for text in ("pool:min:2", "gpool:min"):
        answers = compare(parse_layer(text), (8, 8))
        told = {one.who: (one.sizes is None, one.remark) for one in answers}
        assert told["torch"] == (False, "as -max_pool(-x)")
        assert told["Keras"] == (True, "it has no minimum pool")
        assert told["ONNX"] == (True, "it has no minimum pool: -MaxPool(-x)")
    for text in ("pool:median:2", "gpool:median"):
        lines = ok("shape", "8x8", text, "--compare").stdout.decode()
        assert lines.count("it has no median pool") == 3 and not hasattr(torch.nn, "MedianPool2d")
    names = {one.who: one.setting for one in compare(parse_layer("gpool:avg"), (8, 8))}
    assert names["torch"] == "AdaptiveAvgPool(1)" and hasattr(torch.nn, "AdaptiveAvgPool2d")
    assert (names["Keras"], names["ONNX"]) == ("GlobalAveragePooling", "GlobalAveragePool")
    assert onnx.defs.has(names["ONNX"])


def test_compare_on_the_shell():
    lines = ok("shape", "8x8", "conv:3,s=2,same", "pool:max:2", "--compare").stdout.decode().splitlines()
    assert lines[0] == "conv:3,s=2,p=same on 8x8"
    assert lines[3].split() == ["torch", "padding=1", "1", "4x4"]
    assert lines[4].split(maxsplit=4) == ["torch", "padding='same'", "-", "-", "refused: only with stride 1"]
    assert "pool:max:2 on 4x4" in lines
    facts = json.loads(ok("shape", "8x8", "conv:3,s=2,same", "--compare", "--json").stdout)
    assert facts[0]["answers"][5]["sizes"] == [4, 4] and facts[0]["why"]


@pytest.mark.parametrize(
    "text", [*LAYERS, "tconv:2,s=4", "conv:3,s=2,d=2", "pool:min:3,p=2", "pool:avg:3,d=2"]
)
def test_compare_fits_a_terminal(text):
    text = ok("shape", "11x12", text, "--compare").stdout.decode()
    assert max(map(len, text.splitlines())) <= 80
