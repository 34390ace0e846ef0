"""The grammar of layers and of sizes: the texts of ``convcli shape`` and of ``--pool``, read once into dataclasses."""

from collections.abc import Iterable

from convcli.common import UsageError, parse_float, parse_numbers, plugins, within
from convcli.geometry.layers import Conv, Layer, Pool
from convcli.geometry.padding import PaddingName, parse_padding
from convcli.geometry.pools import POOLS, PoolKind

MAX_RANK = 3


def parse_layer(text: str) -> Layer:
    """Read one layer of the ``shape`` command.

    ::

        conv:[OUT@]K[,s=][,p=][,d=][,same]          K is 5, 5x3 or 3x3x3; one number is every axis
        tconv:[OUT@]K[,s=][,p=][,d=][,op=][,same]   p crops, op lengthens
        pool:KIND:K[,s=][,p=][,d=][,ceil][,include] KIND is max, or another of `convcli.geometry.pools`
        gpool:KIND

    ``p=`` takes a number, before:after, or a name, one for each axis joined by ``x``; a bare name will do.

    >>> parse_layer("conv:6@5x5,s=2,p=1:0") == Conv((5, 5), out=6, stride=(2,), padding=((1, 0),))
    True
    >>> str(parse_layer("pool:max:3,s=2"))
    'pool:max:3,s=2'
    """
    kind, _, body = text.partition(":")
    match kind:
        case "conv" | "tconv":
            return _parse_conv(body, transposed=kind == "tconv")
        case "pool" if not body.startswith("global-"):
            return parse_pool(body)
        case "gpool":
            return parse_pool(f"global-{body}")
        case "stft":
            how = f"convcli filter FILE -k {text} --dry-run"
            raise UsageError(f"a spectrogram is no layer: `{how}` says its size")
    raise UsageError(f"{text!r} is not a layer: use conv:5, conv:6@5x5, tconv:3,s=2, pool:max:2 or gpool:avg")


def parse_pool(text: str) -> Pool:
    """Read what ``--pool`` says: ``max:2``, ``avg:3,s=2``, ``avg:3x2,p=1,include``, ``global-max``.

    >>> parse_pool("avg:3,s=2")
    Pool(kind=AvgPool(), size=(3,), stride=(2,), dilation=(1,), padding=((0, 0),), ceil=False, include_padding=False)
    """
    name, colon, body = text.partition(":")
    everything = name.startswith("global-")
    kind = named_pool(name.removeprefix("global-"))
    if kind is not None and not (everything or colon):
        raise UsageError(f"pool {text!r} needs a size: {kind}:2, or global-{kind} over everything")
    if kind is None or (everything and bool(colon) > bool(kind.parameters)):
        kinds = ", ".join(map(str, POOLS))
        raise UsageError(f"pool {text!r} is unknown: use max:2 or global-max; kinds are {kinds}")
    size, *parts = body.split(",")
    if everything:
        return Pool(given_pool(kind, [size, *parts]) if colon else kind, None)
    first = [part for part in parts[: len(kind.parameters)] if part[:1].isdigit()]
    kind, parts = given_pool(kind, first), parts[len(first) :]
    options = _parse_options(parts, ("s", "p", "d", "ceil", "include"))
    return Pool(
        kind,
        parse_numbers(size, "pool size"),
        stride=parse_numbers(options["s"], "stride") if "s" in options else None,
        dilation=parse_numbers(options.get("d", "1"), "dilation"),
        padding=parse_padding(options.get("p", "0")),
        ceil="ceil" in options,
        include_padding="include" in options,
    )


def named_pool(name: str) -> PoolKind | None:
    """Return the kind of pool of a name: built in, or of another package."""
    kind = next((kind for kind in POOLS if kind.name == name), None)
    return kind or plugins.find(plugins.Group.POOLS, name, PoolKind)


def given_pool(kind: PoolKind, values: list[str]) -> PoolKind:
    """Return a kind with values of its parameters."""
    if len(values) > len(kind.parameters):
        raise UsageError(f"pool {kind} takes no more than {', '.join(kind.parameters)}")
    numbers = zip(values, kind.parameters, strict=False)
    return kind.given(*(parse_float(text, name) for text, name in numbers))


def _parse_conv(body: str, *, transposed: bool) -> Conv:
    kernel, *parts = body.split(",")
    options = _parse_options(parts, ("s", "p", "d", "op") if transposed else ("s", "p", "d"))
    out, size = parse_size(kernel, "kernel")
    return Conv(
        size,
        out,
        stride=parse_numbers(options.get("s", "1"), "stride"),
        dilation=parse_numbers(options.get("d", "1"), "dilation"),
        padding=parse_padding(options.get("p", "0")),
        transposed=transposed,
        output_padding=parse_numbers(options.get("op", "0"), "output padding", minimum=0),
    )


_FLAGS = ("ceil", "include")


def _parse_options(parts: list[str], allowed: tuple[str, ...]) -> dict[str, str]:
    """Read ``s=2``, ``ceil``, ``same`` … into {key: value}; a padding's bare name is the value of ``p``."""
    options: dict[str, str] = {}
    for part in parts:
        key, _, value = ("p", "=", part) if part in tuple(PaddingName) else part.partition("=")
        if key not in allowed or (key in _FLAGS) != (part == key):
            known = ", ".join(name if name in _FLAGS else f"{name}=" for name in allowed)
            raise UsageError(
                f"option {part!r} is unknown: use {known} or a padding name such as same (axes go as s=2x1)"
            )
        if key in options:
            raise UsageError(f"option {part!r} says {key} a second time: leave one out")
        options[key] = value
    return options


def parse_layers(texts: Iterable[str]) -> list[Layer]:
    """Read a chain; an error names the layer by its number."""
    layers = []
    for number, text in enumerate(texts, 1):
        with within(f"layer {number} ({text})"):
            layers.append(parse_layer(text))
    return layers


def parse_size(text: str, what: str = "size") -> tuple[int | None, tuple[int, ...]]:
    """Read ``[C@]SIZE`` of 1 to 3 axes; the channels are None when not given.

    >>> parse_size("3@32x32"), parse_size("100")
    ((3, (32, 32)), (None, (100,)))
    """
    channels, at, sizes = text.rpartition("@")
    counts = parse_numbers(channels, "channels") if at else None
    numbers = parse_numbers(sizes, what)
    if len(numbers) > MAX_RANK or (counts and len(counts) > 1):
        raise UsageError(f"{what} {text!r} is not possible: use 1 to {MAX_RANK} axes, as in 32x32, 3@32x32")
    return (counts[0] if counts else None), numbers
