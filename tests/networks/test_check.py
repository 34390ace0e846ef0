"""Shift equivariance and invariance, measured where the answer is known; and maps as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convcli.common.errors import ConvError
from convcli.geometry.graph import Shape
from convcli.networks import pictures
from convcli.networks.check import Finding, measure
from convcli.networks.model import parameters_of
from convcli.networks.parse import load_net
from convcli.networks.torch_run import TorchNet
from convcli.networks.weights import initial

IMAGE = np.random.default_rng(2).normal(size=(2, 33, 40))


def findings(tmp_path: Path, text: str, axis: int = 1, image: np.ndarray = IMAGE) -> dict[str, Finding]:
    path = tmp_path / "n.yaml"
    path.write_text("seed: 6\n" + text)
    net = load_net(path)
    steps = net.trace(Shape(image.shape[0], image.shape[1:]))
    model = TorchNet.load(net, steps, initial(parameters_of(steps)), "float64")
    return {f.layer.split()[0]: f for f in measure(model, image, range(1, 9), axis)}


def test_convolutions_follow_every_shift_and_pools_the_multiples_of_their_stride(tmp_path: Path) -> None:
    text = (
        "layers:\n- conv: {maps: 3, size: 3, padding: 1}\n- relu\n- pool: {size: 2}\n- conv: {maps: 2, size: 3}\n"
        "- pool: {kind: avg, size: 2}\n"
    )
    for axis in (0, 1):
        found = findings(tmp_path, text, axis)
        assert found["conv1"].holds_at == found["relu1"].holds_at == tuple(range(1, 9))
        assert found["pool1"].holds_at == found["conv2"].holds_at == (2, 4, 6, 8)
        assert found["pool2"].holds_at == (4, 8)
        assert found["pool2"].jump == 4
        assert found["conv1"].error is not None
        assert found["conv1"].error < 1e-12
        assert found["conv1"].elsewhere is None
        assert found["pool1"].elsewhere is not None
        assert found["pool1"].elsewhere > 0.05


def test_a_lost_phase_stays_lost_after_upsampling(tmp_path: Path) -> None:
    found = findings(tmp_path, "layers:\n- pool: {size: 2}\n- upsample: {scale: 2, mode: bilinear}\n")
    assert found["upsample1"].jump == 1
    assert found["upsample1"].holds_at == (2, 4, 6, 8)  # its jump alone would promise them all
    assert found["upsample1"].period == 2
    assert found["upsample1"].error is not None
    assert found["upsample1"].error < 1e-12
    assert found["upsample1"].elsewhere is not None
    assert found["upsample1"].elsewhere > 0.01


def test_the_period_is_common_to_all_layers_so_far(tmp_path: Path) -> None:
    text = (
        "layers:\n- pool: {size: 2}\n- tconv: {maps: 2, size: 3, stride: 2}\n- pool: {size: 3}\n"
        "- conv: {maps: 1, size: 3}\n"
    )
    found = findings(tmp_path, text, image=np.random.default_rng(2).normal(size=(2, 60, 90)))
    assert [found[label].period for label in ("pool1", "tconv1", "pool2", "conv1")] == [2, 2, 6, 6]
    assert found["conv1"].holds_at == (6,)


def test_upsampling_moves_by_more_than_its_input(tmp_path: Path) -> None:
    found = findings(tmp_path, "layers:\n- tconv: {maps: 2, size: 3, stride: 2}\n")
    assert found["tconv1"].jump == 0.5
    assert found["tconv1"].holds_at == tuple(range(1, 9))


def test_a_position_dependent_layer_is_caught(tmp_path: Path) -> None:
    """Padding leaks the position into everything it reaches: only what it does not reach is compared."""
    found = findings(
        tmp_path, "layers:\n- conv: {maps: 2, size: 9, padding: 4}\n- gpool: {kind: avg}\n- flatten\n"
    )
    assert found["conv1"].holds_at == tuple(range(1, 9))
    assert found["gpool1"].moved[1] is None
    assert found["flatten1"].moved[1] is None
    assert found["gpool1"].unmoved[1] > 1e-6  # the borders count: not wholly invariant


def test_a_global_pool_without_borders_is_invariant(tmp_path: Path) -> None:
    text = "layers:\n- conv: {maps: 2, size: 3, padding: 1, pad_mode: circular}\n- gpool\n"
    found = findings(tmp_path, text)
    assert max(found["gpool1"].unmoved.values()) < 1e-12
    assert min(found["conv1"].unmoved.values()) > 0.5


# Pictures


def test_viridis_is_viridis() -> None:
    maps = pytest.importorskip("matplotlib")
    places = np.linspace(0, 1, 256)
    expected = np.rint(np.array(maps.colormaps["viridis"].colors) * 255)
    assert np.abs(pictures.colour(places, "viridis").astype(float) - expected).max() <= 2


def test_grey_is_linear_and_nan_is_seen() -> None:
    pixels = pictures.colour(np.array([0.0, 0.5, 1.0, np.nan]), "grey")
    assert pixels.tolist() == [[0, 0, 0], [128, 128, 128], [255, 255, 255], [255, 0, 255]]


@pytest.mark.parametrize(
    ("channels", "count", "across", "down"), [(64, 16, 4, 4), (64, 30, 6, 5), (6, 16, 3, 2)]
)
def test_the_grid_holds_each_map_at_its_place(channels: int, count: int, across: int, down: int) -> None:
    maps = np.arange(channels)[:, None, None] + np.linspace(0, 0.9, 32 * 32).reshape(32, 32)
    maps[5] = -maps[5]  # upside down: the darkest value comes last
    page = pictures.grid(maps, count=count, colours="grey", title="t")
    zoomed, gap, line = 128, pictures.GAP, pictures.LINE
    top = page.shape[0] - down * (zoomed + line + gap)
    corners = []
    for index in range(min(count, channels)):
        row, column = divmod(index, across)
        y = top + row * (zoomed + line + gap) + line
        x = gap + column * ((page.shape[1] - gap) // across)
        corners.append((int(page[y, x, 0]), int(page[y + zoomed - 1, x + zoomed - 1, 0])))
    assert corners == [(255, 0) if index == 5 else (0, 255) for index in range(min(count, channels))]


def test_large_maps_are_averaged_down_and_signals_are_lines() -> None:
    large = pictures.grid(np.tile([[0.0, 1.0]], (1, 600, 300)), colours="grey")
    side = 256 + 2 * pictures.GAP  # of 600 pixels
    assert large.shape == (side + pictures.LINE, side, 3)
    left, top = pictures.GAP, pictures.GAP + pictures.LINE
    assert abs(int(large[top + 123, left + 140, 0]) - 128) <= 20  # stripes of 0 and 1 mix
    signal = pictures.grid(np.sin(np.arange(90) / 9)[None])
    assert (signal == (49, 104, 142)).all(axis=2).sum() > 250  # a line through all columns
    with pytest.raises(ConvError, match="flat numbers"):
        pictures.grid(np.zeros(4))
