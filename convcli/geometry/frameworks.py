"""What other frameworks make of the same layer: torch, TensorFlow's Keras, ONNX.  None of them is imported.

Their rules, as documented (and as tests check against torch and ONNX):

- torch: padding is one number an axis, for both sides; ``padding='same'`` needs stride 1 and puts half of
  d(k - 1) before, an odd one after; a pool's padding is at most half its kernel.
- Keras (TensorFlow): ``valid`` or ``same``, no numbers.  ``same`` gives ceil(n / s) outputs with as little
  padding as that needs, an odd one after; strides and dilation exclude each other.  Transposed: ``valid``
  gives n s + max(k - s, 0), ``same`` n s.
- ONNX: pads for both sides of each axis; ``auto_pad`` SAME_UPPER as Keras, SAME_LOWER with an odd one before.
"""

from collections.abc import Sequence
from dataclasses import replace

from convcli.common import UsageError, frozen
from convcli.geometry.layers import Layer, Pool, axis_text, format_size
from convcli.geometry.padding import PaddingName
from convcli.geometry.pools import Counterpart
from convcli.geometry.windows import TransposedWindow, Window


@frozen
class Answer:
    """What one framework gives for one of its settings.

    Attributes
    ----------
    who, setting
        Such as ``torch`` and ``padding='same'``.
    padding
        (before, after) of each axis (for a transposed layer what is cropped); None when it is refused.
    sizes
        The output; None when it is refused.
    remark
        Why it differs or is refused, in a few words.
    """

    who: str
    setting: str
    padding: tuple[tuple[int, int], ...] | None
    sizes: tuple[int, ...] | None
    remark: str = ""

    @property
    def size_text(self) -> str:
        """The output as ``shape`` writes it, a dash when it is refused."""
        return "-" if self.sizes is None else format_size(None, self.sizes)

    @property
    def padding_text(self) -> str:
        """The padding of each axis, a dash when it is refused."""
        return "-" if self.padding is None else _listed(self.padding, "x")


Windows = tuple[Window | TransposedWindow, ...]


def compare(layer: Layer, sizes: Sequence[int]) -> list[Answer]:
    """Return what each framework gives for a layer with the same kernel, stride and dilation.

    The first answer is convcli's own.

    >>> from convcli.geometry.layers import Conv
    >>> for answer in compare(Conv((3,), stride=(2,), padding=(PaddingName.SAME,)), (8,)):
    ...     print(answer.who, answer.setting, answer.padding, answer.sizes)
    convcli p=same ((1, 1),) (4,)
    torch padding=1 ((1, 1),) (4,)
    torch padding='same' None None
    Keras padding='valid' ((0, 0),) (3,)
    Keras padding='same' ((0, 1),) (4,)
    ONNX pads=[1,1] ((1, 1),) (4,)
    ONNX auto_pad=SAME_UPPER ((0, 1),) (4,)
    ONNX auto_pad=SAME_LOWER ((1, 0),) (4,)
    """
    sizes = tuple(sizes)
    own = layer.windows(sizes)
    setting = str(layer) if layer.size is None else "p=" + _listed(layer.padding, "x")
    answers = [_answer("convcli", setting, own, sizes)]
    rules = {"torch": _torch_transposed if layer.transposed else _torch, "Keras": _keras, "ONNX": _onnx}
    for who, rule in rules.items():
        same: Counterpart = getattr(layer.kind, who.lower()) if isinstance(layer, Pool) else Counterpart()
        if same.missing:
            answers.append(Answer(who, "", None, None, same.remark))
        elif layer.size is None:
            answers.append(_answer(who, same.over_everything, own, sizes, same.remark))
        else:
            answers += rule(layer, own, sizes)
    return answers


def _answer(who: str, setting: str, windows: Windows, sizes: tuple[int, ...], remark: str = "") -> Answer:
    outputs = tuple(window.output_size(n) for window, n in zip(windows, sizes, strict=True))
    return Answer(who, setting, tuple((w.before, w.after) for w in windows), outputs, remark)


def _listed(values: Sequence[object], between: str = ",") -> str:
    """Write values of all axes, one alone where they agree.

    >>> _listed([(1, 1), (1, 1)]), _listed([(0, 1), (2, 2)])
    ('1', '0:1,2')
    """
    texts = [axis_text(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else between.join(texts)


def _torch(layer: Layer, own: Windows, sizes: tuple[int, ...]) -> list[Answer]:
    amounts = [(window.before, window.after) for window in own]
    setting, remark = f"padding={_listed(amounts)}", ""
    if isinstance(layer, Pool):
        remark = layer.kind.torch.remark
        setting += ", ceil_mode=True" if layer.ceil else ""
        if any(max(pair) > window.kernel // 2 for pair, window in zip(amounts, own, strict=True)):
            return [Answer("torch", setting, None, None, "a pool's padding is at most half its kernel")]
        if layer.kind.torch.undilated and any(window.dilation > 1 for window in own):
            return [Answer("torch", setting, None, None, layer.kind.torch.undilated)]
    if any(before != after for before, after in amounts):
        first = _answer("torch", "F.pad, then padding=0", own, sizes, "its own is symmetric")
    else:
        first = _answer("torch", setting, own, sizes, remark)
    return [first] if isinstance(layer, Pool) else [first, _torch_same(own, sizes)]


def _torch_same(own: Windows, sizes: tuple[int, ...]) -> Answer:
    if any(window.stride > 1 for window in own):
        return Answer("torch", "padding='same'", None, None, "refused: only with stride 1")
    windows = tuple(
        replace(window, before=(window.extent - 1) // 2, after=window.extent // 2) for window in own
    )
    uneven = any(window.before != window.after for window in windows)
    return _answer("torch", "padding='same'", windows, sizes, "the odd one after" if uneven else "")


def _torch_transposed(_: Layer, own: Windows, sizes: tuple[int, ...]) -> list[Answer]:
    windows = [window for window in own if isinstance(window, TransposedWindow)]
    extra = _listed([window.output_padding for window in windows])
    setting = f"padding={_listed([(w.before, w.after) for w in windows])}"
    setting += "" if extra == "0" else f", output_padding={extra}"
    if any(window.output_padding >= max(window.stride, window.dilation) for window in windows):
        return [Answer("torch", setting, None, None, "op must be < stride or dilation")]
    if any(window.before != window.after for window in windows):
        return [_answer("torch", "padding=0, then a slice", own, sizes, "it crops both sides alike")]
    return [_answer("torch", setting, own, sizes)]


def _keras(layer: Layer, own: Windows, sizes: tuple[int, ...]) -> list[Answer]:
    if isinstance(layer, Pool) and any(window.dilation > 1 for window in own):
        return [Answer("Keras", "", None, None, "its pools have no dilation")]
    if any(window.stride > 1 for window in own) and any(window.dilation > 1 for window in own):
        return [Answer("Keras", "valid or same", None, None, "strides exclude dilation_rate")]
    if not layer.transposed:
        bare = replace(layer, ceil=False) if isinstance(layer, Pool) else layer
        names = {"valid": PaddingName.VALID, "same": PaddingName.SAME_UPPER}
        return [_named("Keras", f"padding='{name}'", bare, names[name], sizes) for name in names]
    filled = tuple(max(window.extent - window.stride, 0) for window in own)
    valid = tuple(n * window.stride + more for n, window, more in zip(sizes, own, filled, strict=True))
    same = tuple(n * window.stride for n, window in zip(sizes, own, strict=True))
    gaps = any(window.stride > window.extent for window in own)
    remark = "zeros at the end too" if gaps else ""
    crop = tuple((more // 2, more - more // 2) for more in filled)
    return [
        Answer("Keras", "padding='valid'", ((0, 0),) * len(sizes), valid, remark),
        Answer("Keras", "padding='same'", crop, same, "always input times stride"),
    ]


def _onnx(layer: Layer, own: Windows, sizes: tuple[int, ...]) -> list[Answer]:
    numbers = [window.before for window in own] + [window.after for window in own]
    setting = f"pads=[{','.join(map(str, numbers))}]"
    if layer.transposed:
        extra = [window.output_padding for window in own if isinstance(window, TransposedWindow)]
        setting += f", output_padding={_listed(extra)}" if any(extra) else ""
    elif isinstance(layer, Pool) and layer.ceil:
        setting += ", ceil_mode=1"
    answers = [_answer("ONNX", setting, own, sizes)]
    plain = replace(layer, ceil=False) if isinstance(layer, Pool) else replace(layer, output_padding=(0,))
    names = {"UPPER": PaddingName.SAME_UPPER, "LOWER": PaddingName.SAME_LOWER}
    return answers + [_named("ONNX", f"auto_pad=SAME_{name}", plain, names[name], sizes) for name in names]


def _named(who: str, setting: str, layer: Layer, padding: PaddingName, sizes: tuple[int, ...]) -> Answer:
    try:
        return _answer(who, setting, replace(layer, padding=(padding,)).windows(sizes), sizes)
    except UsageError:
        return Answer(who, setting, None, None, "refused: the kernel is larger than the input")


def reasons(layer: Layer, answers: Sequence[Answer]) -> list[str]:
    """Say why the answers differ, one line each; nothing where they agree."""
    found = {(answer.who, answer.setting): answer for answer in answers}
    own = answers[0]
    upper = found.get(("ONNX", "auto_pad=SAME_UPPER"))
    halved = found.get(("torch", "padding='same'"))
    keras = found.get(("Keras", "padding='same'"))
    lines = []
    named = PaddingName.SAME in layer.padding
    if named and not layer.transposed and upper and upper.padding != own.padding:
        lines.append(
            "same: convcli's padding depends on the kernel alone, so that output o sits on input o * stride; "
            f"Keras and SAME_UPPER pad only what ceil(n/s) outputs need ({_pads(upper)} instead of {_pads(own)}): "
            "their windows start elsewhere, though the sizes agree"
        )
    if named and halved and halved.padding is not None and halved.padding != own.padding:
        lines.append(
            f"torch halves the padding ({_pads(halved)}); convcli puts the kernel's origin on the output's "
            f"position ({_pads(own)}): an even kernel with dilation is where they part"
        )
    if upper and upper.padding and any(before != after for before, after in upper.padding):
        lines.append(
            "an odd element of padding goes after with Keras, torch and SAME_UPPER, before with SAME_LOWER"
        )
    if isinstance(layer, Pool) and layer.ceil and keras and keras.sizes != own.sizes:
        lines.append("ceil: Keras has no such mode; its same gives ceil(n/s), valid rounds down")
    if layer.transposed and len({answer.sizes for answer in answers if answer.sizes}) > 1:
        lines.append(
            "a transposed size is not unique, several inputs of the convolution give one output: "
            "torch and ONNX choose by output_padding, Keras' same takes input times stride, "
            "its valid at least the stride for every input"
        )
    elif len({answer.sizes for answer in answers if answer.sizes}) > 1 and not lines:
        lines.append(
            "valid means no padding, same gives ceil(input / stride) outputs; numbers are in between"
        )
    return lines


def _pads(answer: Answer) -> str:
    return _listed(answer.padding or ()) if answer.padding else "none"
