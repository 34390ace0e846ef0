"""Weights of nets: every kind of file, what is swapped, and what is refused."""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from convcli.common.errors import ConvError
from convcli.geometry.graph import Shape
from convcli.networks.model import parameters_of
from convcli.networks.parse import load_net
from convcli.networks.torch_run import TorchNet
from convcli.networks.weights import class_names, initial, load_all, load_for, load_weights, save

RANDOM = np.random.default_rng(8)
W = RANDOM.normal(size=(2, 3, 3, 2))
X = RANDOM.normal(size=(3, 7, 8))


def run(net_path: Path, x: np.ndarray = X, weights: Path | None = None) -> np.ndarray:
    net = load_net(net_path)
    steps = net.trace(Shape(x.shape[0], x.shape[1:]))
    parameters = parameters_of(steps)
    stored = load_for(weights, parameters) if weights else None
    return TorchNet.load(net, steps, initial(parameters, stored), "float64").run(x)


def onnx_model(path: Path, **arrays: np.ndarray) -> None:
    onnx = pytest.importorskip("onnx")
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors)), str(path))


def write(path: Path, **arrays: np.ndarray) -> None:
    match path.suffix:
        case ".npy":
            np.save(path, next(iter(arrays.values())))
        case ".npz":
            np.savez(path, **arrays)
        case ".safetensors":
            with path.open("wb") as file:
                save(file, arrays)
        case ".onnx":
            onnx_model(path, **arrays)
        case _:
            torch.save({name: torch.tensor(array) for name, array in arrays.items()}, path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".pth", ".pt", ".onnx"])
def test_one_array_of_a_file(suffix: str, tmp_path: Path) -> None:
    write(tmp_path / f"w{suffix}", first=W, second=np.array([1.0, -2.0]))
    key = "" if suffix == ".npy" else "#first"
    bias = "bias: [1, -2]" if suffix == ".npy" else f"bias: 'w{suffix}#second'"
    path = tmp_path / "n.yaml"
    path.write_text(f"layers:\n- conv: {{weights: 'w{suffix}{key}', {bias}}}\n")
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(X)[None], torch.from_numpy(W), torch.tensor([1.0, -2.0], dtype=torch.float64)
    )
    np.testing.assert_allclose(run(path), expected[0].numpy(), atol=1e-12)


@pytest.mark.parametrize("suffix", [".pth", ".onnx"])
@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
def test_transposed_weights_are_swapped(suffix: str, by_name: bool, groups: int, tmp_path: Path) -> None:
    stored = RANDOM.normal(size=(3, 2, 3, 2))  # torch and ONNX: in, out of each group
    write(tmp_path / f"w{suffix}", **{"tconv1.weight": stored})
    path = tmp_path / "n.yaml"
    given = f"weights: 'w{suffix}#tconv1.weight'"
    if by_name:
        given = f"maps: {2 * groups}, size: 3x2, bias: false"
    path.write_text(f"layers:\n- tconv: {{{given}, stride: 2, groups: {groups}}}\n")
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(X)[None], torch.from_numpy(stored), stride=2, groups=groups
    )
    found = run(path, weights=tmp_path / f"w{suffix}" if by_name else None)
    np.testing.assert_allclose(found, expected[0].numpy(), atol=1e-12)


def test_all_weights_by_name_from_a_model_of_torch(tmp_path: Path) -> None:
    model = torch.nn.Sequential()
    model.add_module("conv1", torch.nn.Conv2d(3, 4, 3))
    model.add_module("bn1", torch.nn.BatchNorm2d(4))
    model.add_module("act", torch.nn.PReLU(4))
    model.add_module("flat", torch.nn.Flatten())
    model.add_module("fc", torch.nn.Linear(120, 2))
    model.double()
    model.train()(torch.from_numpy(RANDOM.normal(size=(5, 3, 7, 8))))  # the norm has seen something
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, tmp_path / "checkpoint.pth")
    torch.save(model.state_dict(), tmp_path / "model.pth")
    path = tmp_path / "n.yaml"
    path.write_text(
        "layers:\n- conv: {name: conv1, maps: 4, size: 3}\n- batchnorm: {name: bn1}\n- prelu: {name: act}\n"
        "- flatten\n- dense: {name: fc, outputs: 2}\n"
    )
    expected = model.eval()(torch.from_numpy(X)[None])[0].detach().numpy()
    np.testing.assert_allclose(run(path, weights=tmp_path / "model.pth"), expected, atol=1e-12)
    assert "state_dict.conv1.weight" in load_all(tmp_path / "checkpoint.pth")


def test_saved_weights_read_back(tmp_path: Path) -> None:
    path = tmp_path / "n.yaml"
    path.write_text("seed: 1\nlayers:\n- tconv: {maps: 2, size: 3}\n- batchnorm\n")
    net = load_net(path)
    parameters = parameters_of(net.trace(Shape(3, (5, 5))))
    arrays = initial(parameters)
    file = io.BytesIO()
    save(file, arrays, {"step": "7"})
    (tmp_path / "w.safetensors").write_bytes(file.getvalue())
    again = initial(parameters, load_for(tmp_path / "w.safetensors", parameters))
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemError('this must never run')",))


@pytest.mark.parametrize("name", ["w.mp4", "", "."])
def test_names_that_hold_no_weights(name: str, tmp_path: Path) -> None:
    (tmp_path / "w.mp4").touch()
    with pytest.raises(ConvError, match=r"weights by name come from \.npz"):
        load_all(tmp_path / name)


def test_pickled_code_is_refused_and_never_run(tmp_path: Path) -> None:
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"w": Evil()}))
    torch.save({"w": Evil()}, tmp_path / "new.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    for name in ("old.pth", "new.pth", "module.pth"):
        with pytest.raises(ConvError) as caught:
            load_weights(f"{tmp_path / name}#w")
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 1
    assert "can run code" in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".onnx", ".npz", ".safetensors", ".npy"])
@pytest.mark.parametrize("content", [b"nonsense of some length", b"PK\x03\x04 no archive at all"])
def test_damaged_files(suffix: str, content: bytes, tmp_path: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnx")
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(ConvError) as caught:
        load_weights(str(path))
    assert f"w{suffix}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_state_dict_of_the_old_kind_whose_storages_have_other_keys(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(400)}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    data = (tmp_path / "w.pth").read_bytes()
    key = re.search(rb"\d{8,}", data)
    assert key is not None
    (tmp_path / "w.pth").write_bytes(data.replace(key[0], key[0][::-1], 1))
    with pytest.raises(ConvError, match="no PyTorch state dict, or a damaged one"):
        load_weights(f"{tmp_path / 'w.pth'}#w")


def test_a_truncated_state_dict(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(400)}, tmp_path / "w.pth")
    data = (tmp_path / "w.pth").read_bytes()
    for length in (10, 100, len(data) // 2, len(data) - 5):
        (tmp_path / "cut.pth").write_bytes(data[:length])
        with pytest.raises(ConvError, match=r"cut\.pth': no PyTorch state dict, or a damaged one"):
            load_weights(f"{tmp_path / 'cut.pth'}#w")


def test_onnx_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.onnx").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConvError, match=r'pip install "convcli\[onnx\]"'):
        load_weights(f"{tmp_path / 'w.onnx'}#w")


def test_wrong_keys_and_shapes_are_named(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2), "b": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(ConvError, match=r"no array 'c'; write w\.pth#KEY with one of a, b"):
        load_weights(f"{tmp_path / 'w.pth'}#c")
    with pytest.raises(ConvError, match="several arrays"):
        load_weights(str(tmp_path / "w.pth"))
    path = tmp_path / "n.yaml"
    path.write_text("layers:\n- conv: {maps: 2, size: 3}\n")
    with pytest.raises(
        ConvError, match=r"none of its arrays \(a, b\) is of this net: conv1.weight, conv1.bias"
    ):
        run(path, weights=tmp_path / "w.pth")
    torch.save({"conv1.weight": torch.zeros(2, 3, 3, 2), "conv1.bias": torch.zeros(2)}, tmp_path / "v.pth")
    with pytest.raises(ConvError, match=r"conv1\.weight: the weights are 2x3x3x2, and 2x3x3x3 is needed"):
        run(path, weights=tmp_path / "v.pth")
    torch.save({"conv1.bias": torch.zeros(2)}, tmp_path / "u.pth")
    with pytest.raises(ConvError, match=r"no numbers for conv1\.weight: give --weights FILE"):
        run(path, weights=tmp_path / "u.pth")
    torch.save(
        {"conv1.weight": torch.full((2, 3, 3, 3), torch.nan), "conv1.bias": torch.zeros(2)},
        tmp_path / "t.pth",
    )
    with pytest.raises(ConvError, match="not finite"):
        run(path, weights=tmp_path / "t.pth")


def test_half_precision_is_widened(tmp_path: Path) -> None:
    torch.save({"w": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, tmp_path / "w.pth")
    np.testing.assert_array_equal(load_weights(f"{tmp_path / 'w.pth'}#w"), [1.5, -2.0])


def test_unusual_tensors(tmp_path: Path) -> None:
    negative = (
        torch.complex(torch.zeros(2), torch.tensor([1.0, -2.0])).conj().imag
    )  # its sign is a bit of the tensor
    assert negative.is_neg()
    tensors = {
        "eighth": torch.tensor([1.5, -2.0]).to(torch.float8_e4m3fn),
        "negative": negative,
        "meta": torch.zeros(2, device="meta"),
        "complex": torch.zeros(2, dtype=torch.complex64),
    }
    torch.save(tensors, tmp_path / "w.pth")
    arrays = load_all(tmp_path / "w.pth")
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "eighth": [1.5, -2.0],
        "negative": [-1.0, 2.0],
    }


def test_small_files_of_huge_weights(tmp_path: Path) -> None:
    cycle: dict[str, object] = {"w": torch.zeros(2)}
    cycle["again"] = cycle
    shared: dict[str, object] = {"w": torch.zeros(2)}
    for _ in range(40):
        shared = {"a": shared, "b": shared}
    expanded = {"w": torch.zeros(1).expand(10**12)}
    one = torch.zeros(100_000, dtype=torch.bfloat16)
    for value, problem in (
        ({f"w{number}": one for number in range(200)}, "its tensors share their numbers"),
        (cycle, "without an end"),
        (shared, "more than 100,000 entries"),
        (expanded, "w is larger than what the file holds"),
    ):
        torch.save(value, tmp_path / "w.pth")
        with pytest.raises(ConvError, match=problem):
            load_all(tmp_path / "w.pth")


def test_arrays_of_safetensors_do_not_share_bytes(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [100], "data_offsets": [0, 400]}
    header = json.dumps({f"w{number}": entry for number in range(9)}).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(400))
    with pytest.raises(ConvError, match="or a damaged one"):
        load_all(tmp_path / "w.safetensors")


def test_an_onnx_type_of_the_future(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0])
    tensor.data_type = 999
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor])), tmp_path / "w.onnx")
    with pytest.raises(ConvError, match="w is damaged, or of a type that numpy has not"):
        load_all(tmp_path / "w.onnx")


def test_class_names_of_a_stranger(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "{", "3"):
        save_file({"w": np.zeros(2)}, tmp_path / "w.safetensors", {"classes": text})
        assert class_names(tmp_path / "w.safetensors") == ()


def test_more_parameters_than_memory_is_meant_for(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text(
        "seed: 0\nlayers: [conv: {maps: 1000000, size: 7}, conv: {maps: 1000, size: 1}]"
    )
    with pytest.raises(
        ConvError, match=r"1,148,001,000 parameters that no file holds would take .* --max-pixels 1149"
    ):
        run(tmp_path / "n.yaml")
