"""A net from a YAML file: preprocess and layers, each option read strictly into the types of `model`.

Errors name the file, the layer by number and kind, and the key.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from convcli.common.errors import UsageError, within
from convcli.common.numbers import quoted
from convcli.geometry.grammar import parse_size
from convcli.kernel.yaml_document import Node, read_document
from convcli.kernel.yaml_fields import nearest, scalar
from convcli.networks.kinds import READERS
from convcli.networks.model import Grey, Layer, Net, Preprocess
from convcli.networks.operations import Interpolation
from convcli.networks.options import Options
from convcli.networks.parameters import Shape

KEYS = ("name", "description", "source", "input", "num_classes", "labels", "seed", "preprocess", "layers")
MAX_LAYERS = 10_000


def load_net(path: Path, num_classes: int | None = None) -> Net:
    """Read a net's file; weights in other files are found in its folder, and only their shapes are read.

    Parameters
    ----------
    num_classes
        Takes the place of the file's own ``num_classes``.

    Raises
    ------
    ConvError
        When a file cannot be read.
    UsageError
        For a key or value that is not possible: names the file, the layer, the key, and what is valid.
    """
    document = read_document(path, "net", "layers: [relu]")
    with within(f"net file {str(path)!r}"):
        options = Options(document, path.parent)
        options.only(KEYS)
        options.needs("layers")
        if num_classes is not None and "num_classes" not in options:
            raise UsageError("it has no num_classes, so --num-classes has no meaning for it")
        classes = options.whole("num_classes", 0) if num_classes is None else num_classes
        seed = (options.whole("seed", 0, minimum=0),) if "seed" in options else None
        with within("preprocess"):
            preprocess = _preprocess(Options(document.get("preprocess", ""), path.parent))
        return Net(
            name=options.text("name", path.stem),
            layers=_layers(document["layers"], path.parent, seed, classes),
            preprocess=preprocess,
            input=options.read("input", _input, None),
            labels=_labels(document.get("labels", [])),
            description=options.text("description"),
            source=options.text("source"),
        )


def _input(text: str) -> Shape:
    channels, sizes = parse_size(text, "input")
    return Shape(channels or 1, sizes)


def _labels(node: Node) -> tuple[str, ...]:
    with within("labels"):
        if not isinstance(node, list):
            raise UsageError("a list of names is needed, such as [cat, dog]")
        return tuple(scalar(item) for item in node)


def _preprocess(options: Options) -> Preprocess:
    options.only(("grey", "resize", "interpolation", "scale", "mean", "std"))
    std = options.numbers("std")
    if 0.0 in std:
        raise UsageError("std: 0 would divide by zero")
    return Preprocess(
        grey=options.choice("grey", Grey, Grey.MEAN) if "grey" in options else None,
        resize=options.wholes("resize", (1,)) if "resize" in options else None,
        interpolation=options.choice("interpolation", Interpolation, Interpolation.BILINEAR),
        scale=options.number("scale", 1.0),
        mean=options.numbers("mean"),
        std=std,
    )


def _layers(node: Node, folder: Path, seed: tuple[int, ...] | None, classes: int) -> tuple[Layer, ...]:
    if not isinstance(node, list) or not node:
        raise UsageError("layers: a list is needed, such as - conv: {maps: 6, size: 5}")
    counts: Counter[str] = Counter()
    layers: list[Layer] = []
    names: set[str] = set()
    if len(node) > MAX_LAYERS:
        raise UsageError(f"{len(node):,} layers are more than {MAX_LAYERS:,}")
    for number, item in enumerate(node, 1):
        if isinstance(item, dict) and len(item) == 1:
            kind, given = next(iter(item.items()))
        elif isinstance(item, str):
            kind, given = item, ""
        else:
            raise UsageError(
                "a name (relu) or a name with options (pool: {size: 2}) is needed", subject=f"layer {number}"
            )
        if kind not in READERS:
            raise UsageError(
                f"no kind {quoted(kind)}; {nearest(kind, list(READERS))}", subject=f"layer {number}"
            )
        reader, keys = READERS[kind]
        counts[kind] += 1
        with within(f"layer {number} ({kind})"):
            options = Options(given, folder, None if seed is None else (*seed, number), classes)
            options.only(("name", *keys))
            name = options.text("name", f"{kind}{counts[kind]}")
            if name in names:
                raise UsageError(f"the name {quoted(name)} is taken by an earlier layer")
            names.add(name)
            layers.append(Layer(name, reader(options)))
    return tuple(layers)
