"""The convolution as a matrix: the lecture notes' matrices, scipy's structured ones, and torch's results."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, signal

from convcli.common.errors import UsageError
from convcli.explanations.matrix import Matrix, Structure, convolution_matrix
from convcli.geometry.padding import PadMode, parse_padding
from convcli.jobs.bind import Settings, bind
from convcli.jobs.chain import ConvStage
from convcli.kernel import Combine, Kernel, load_kernel
from tests import pad_modes
from tests.shell import SAMPLES, convcli, ok


def matrix_of(
    kernel: Kernel | list[object], sizes: tuple[int, ...], channels: int = 1, **options: object
) -> Matrix:
    if not isinstance(kernel, Kernel):
        kernel = Kernel.from_array(kernel)
    padding = parse_padding(str(options.pop("padding", "0")))
    stage = bind(
        [kernel], Settings(padding=padding, **options), "ZYX"[-len(sizes) :], sizes, channels
    ).stages[0]
    assert isinstance(stage, ConvStage)
    return convolution_matrix(stage, sizes, channels)


# The textbooks' matrices


def test_the_books_matrix_of_a_kernel_of_3_on_5_inputs():
    expected = [[1, 2, 3, 0, 0], [0, 1, 2, 3, 0], [0, 0, 1, 2, 3]]
    assert matrix_of([1, 2, 3], (5,)).dense().tolist() == expected


def test_its_form_with_stride_2():
    expected = [[1, 2, 3, 0, 0], [0, 0, 1, 2, 3]]
    assert matrix_of([1, 2, 3], (5,), stride=(2,)).dense().tolist() == expected


@pytest.mark.parametrize(("stride", "sample"), [(1, "book-matrix.csv"), (2, "book-matrix-stride2.csv")])
def test_the_books_matrices_are_samples(stride: int, sample: str):
    done = ok("matrix", "--input", "5", "-k", "3", "--stride", stride, "-o", "-", "-q")
    assert done.stdout == (SAMPLES / sample).read_bytes() and not done.stderr
    read = np.loadtxt(SAMPLES / sample, delimiter=",")
    assert read.tolist() == scipy.linalg.toeplitz([1, 0, 0], [1, 2, 3, 0, 0])[::stride].tolist()


def test_the_transposed_matrix_spreads_the_books_outputs():
    y = np.loadtxt(SAMPLES / "book-y.csv", skiprows=1)
    w = np.loadtxt(SAMPLES / "book-matrix.csv", delimiter=",")
    done = ok("matrix", "-k", "1,2,3", "--transpose", "--verify", SAMPLES / "book-y.csv", "--json")
    facts = json.loads(done.stdout)
    assert facts["matrix"] == w.T.tolist() and facts["verify"]["equal"]
    filtered = ok("filter", SAMPLES / "book-y.csv", "-k", "1,2,3", "--transpose", "-o", "-", "-q").stdout
    assert [float(line) for line in filtered.split()[1:]] == (w.T @ y).tolist() == [1, 4, 10, 12, 9]


def test_where_the_matrix_goes_to_standard_output_words_do_not():
    done = ok("matrix", "-k", "1,2,3", "-o", "-", "--verify", SAMPLES / "book-y.csv")
    assert done.stdout == b"1.0,2.0,3.0\n"
    assert done.stderr.decode().splitlines()[-1] == "note: equal: the largest difference is 0"


@pytest.mark.parametrize("stride", [1, 2])
def test_the_transposed_convolution_has_the_transposed_matrix(stride):
    forward = matrix_of([1, 2, 3], (5,), stride=(stride,))
    back = matrix_of([1, 2, 3], (forward.shape[0],), stride=(stride,), transposed=True)
    assert back.dense().tolist() == forward.dense().T.tolist()


def test_full_and_flipped_is_the_slides_matrix_of_true_convolution():
    m, n = 3, 4
    found = matrix_of([5, 6, 7], (n,), padding="full", flip=True)
    assert found.shape == (m + n - 1, n)
    column = [5, 6, 7] + [0] * (n - 1)
    assert found.dense().tolist() == scipy.linalg.toeplitz(column, [5] + [0] * (n - 1)).tolist()
    signal = np.array([2.0, -1.0, 4.0, 3.0])
    assert found.times(signal[None]).ravel().tolist() == np.convolve([5, 6, 7], signal).tolist()


def test_the_lecture_notes_3x3_input_and_2x2_kernel():
    assert matrix_of([[1, 2], [3, 4]], (3, 3)).dense().tolist() == [
        [1, 2, 0, 3, 4, 0, 0, 0, 0],
        [0, 1, 2, 0, 3, 4, 0, 0, 0],
        [0, 0, 0, 1, 2, 0, 3, 4, 0],
        [0, 0, 0, 0, 1, 2, 0, 3, 4],
    ]


def test_a_4x4_input_and_2x2_kernel():
    assert matrix_of([[1, 2], [3, 4]], (4, 4)).dense().tolist() == [
        [1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4],
    ]


# Structure


def blocks_of(matrix: Matrix) -> np.ndarray:
    """The dense matrix as (block row, block column, row, column)."""
    high, wide = matrix.blocks
    rows, columns = matrix.shape
    return matrix.dense().reshape(rows // high, high, columns // wide, wide).transpose(0, 2, 1, 3)


def is_circulant(square: np.ndarray) -> bool:
    return bool((square == scipy.linalg.circulant(square[:, 0])).all())


@pytest.mark.parametrize("kernel", ["3,1,-4;1,5,9;-2,6,5", "1,2;3,4", "1,-2,3"])
@pytest.mark.parametrize("sizes", [(5, 4), (3, 6)])
def test_circular_padding_makes_a_doubly_blocked_circulant(kernel, sizes):
    found = matrix_of(load_kernel(kernel), sizes, padding="same", pad_mode=PadMode.CIRCULAR)
    assert found.structure is Structure.CIRCULANT
    blocks = blocks_of(found)
    assert blocks.shape[:2] == (sizes[0], sizes[0])
    for row, column in np.ndindex(*blocks.shape[:2]):
        assert is_circulant(blocks[row, column])
        assert (blocks[row, column] == blocks[(row - column) % sizes[0], 0]).all()  # circulant in blocks too


def test_a_circulant_is_diagonal_in_the_fourier_basis():
    found = matrix_of([3, 1, -4, 7], (6,), padding="same", pad_mode=PadMode.CIRCULAR)
    basis = scipy.linalg.dft(6)
    diagonal = basis @ found.dense() @ np.linalg.inv(basis)
    assert np.abs(diagonal - np.diag(np.diag(diagonal))).max() < 1e-12


@pytest.mark.parametrize("padding", ["0", "1", "full"])
def test_without_wrapping_it_is_doubly_blocked_toeplitz(padding):
    blocks = blocks_of(matrix_of([[3, 1, -4], [1, 5, 9]], (4, 5), padding=padding))
    for row, column in np.ndindex(*blocks.shape[:2]):
        one = blocks[row, column]
        assert (one == scipy.linalg.toeplitz(one[:, 0], one[0])).all()
        if row and column:
            assert (one == blocks[row - 1, column - 1]).all()


@pytest.mark.parametrize(
    ("options", "structure"),
    [
        ({"padding": "1"}, Structure.TOEPLITZ),
        ({"padding": "1", "pad_mode": PadMode.REFLECT}, Structure.BORDERED),
        ({"padding": "0", "pad_mode": PadMode.REFLECT}, Structure.TOEPLITZ),
        ({"padding": "1", "stride": (2,)}, Structure.BANDED),
    ],
)
def test_structure_is_named(options, structure):
    assert matrix_of([3, 1, -4], (6,), **options).structure is structure


# Against other implementations


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_times_the_input_equals_torch(data):
    rank = data.draw(st.integers(1, 3))
    sizes = tuple(data.draw(st.lists(st.integers(2, 5), min_size=rank, max_size=rank)))
    kernel = tuple(data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank)))
    pads = data.draw(st.lists(st.tuples(st.integers(3, 7), st.integers(3, 7)), min_size=rank, max_size=rank))
    stride, dilation = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    mode = data.draw(st.sampled_from(list(PadMode)))
    flip, out, inputs = data.draw(st.booleans()), data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    channels = inputs if inputs > 1 else data.draw(st.integers(1, 2))
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    weights, x = random.normal(size=(out, inputs, *kernel)), random.normal(size=(channels, *sizes))
    bias = tuple(random.normal(size=out).tolist())

    found = matrix_of(
        Kernel("k", weights.shape, tuple(weights.ravel().tolist()), bias=bias),
        sizes,
        channels,
        padding=",".join(f"{a}:{b}" for a, b in pads),
        stride=(stride,),
        dilation=(dilation,),
        flip=flip,
        pad_mode=mode,
        pad_value=2.5 if mode is PadMode.CONSTANT else None,
    ).times(x)

    padded = np.stack([pad_modes.padded(plane, pads, mode, 2.5) for plane in x])
    if flip:
        weights = np.flip(weights, tuple(range(2, 2 + rank))).copy()
    convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[rank - 1]
    items = padded[None] if inputs == channels else padded[:, None]
    expected = convolve(
        torch.tensor(items),
        torch.tensor(weights),
        torch.tensor(bias, dtype=torch.float64),
        stride=stride,
        dilation=dilation,
    )
    expected = expected.numpy().swapaxes(0, 1).reshape(found.shape)  # maps, then channels
    assert np.abs(found - expected).max() < 1e-11


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_transposed_equals_torch(data):
    rank = data.draw(st.integers(1, 3))
    sizes = tuple(data.draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank)))
    stride, dilation = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    crop = data.draw(st.integers(0, 1))
    extra = data.draw(st.integers(0, max(stride, dilation) - 1))
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    weights, x = random.normal(size=(2, 3, *(3,) * rank)), random.normal(size=(3, *sizes))
    options = {"stride": (stride,), "dilation": (dilation,), "output_padding": (extra,)}
    kernel = Kernel.from_array(weights, rank=rank)
    found = matrix_of(kernel, sizes, 3, padding=str(crop), transposed=True, **options).times(x)
    convolve = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[rank - 1]
    expected = convolve(
        torch.tensor(x[None]),
        torch.tensor(weights.swapaxes(0, 1).copy()),
        stride=stride,
        padding=crop,
        output_padding=extra,
        dilation=dilation,
    )
    assert np.abs(found - expected.numpy()[0]).max() < 1e-11


def test_constant_padding_and_bias_are_the_offset():
    kernel = load_kernel("1,2,3").with_bias((10.0,))
    found = matrix_of(kernel, (4,), padding="1", pad_value=2.0)
    assert found.offset.tolist() == [12, 10, 10, 16]
    assert found.dense()[0].tolist() == [2, 3, 0, 0]


def test_a_summed_bank_is_one_matrix_and_a_magnitude_is_none():
    kernel = Kernel.from_array(np.array([[[1, 2]], [[10, 20]]]), rank=1)
    assert matrix_of(replace(kernel, combine=Combine.SUM), (3,)).dense().tolist() == [
        [11, 22, 0],
        [0, 11, 22],
    ]
    with pytest.raises(
        UsageError, match="kernel 'sobel': it combines its outputs by magnitude, which is not linear"
    ):
        matrix_of(load_kernel("sobel"), (5, 5))


def test_too_many_entries_are_refused_at_once():
    with pytest.raises(UsageError, match="entries, more than 12,000,000: give a smaller input"):
        matrix_of([[1, 2], [3, 4]], (50_000_000, 50_000_000))


# The shell


def test_small_ones_are_printed_with_their_blocks():
    text = ok("matrix", "--input", "3x3", "-k", "2x2").stdout.decode()
    assert text == (
        "4x9: 2x2 outputs from 3x3 inputs, 16 entries; doubly blocked Toeplitz, 2x3 blocks of 2x3\n"
        "1 2 . | 3 4 . | . . .\n"
        ". 1 2 | . 3 4 | . . .\n"
        "------+-------+------\n"
        ". . . | 1 2 . | 3 4 .\n"
        ". . . | . 1 2 | . 3 4\n"
    )


def test_larger_ones_by_the_names_of_their_blocks():
    lines = ok("matrix", "--input", "12x12", "-k", "3x3", "-q").stdout.decode().splitlines()
    assert lines[0] == "A B C . . . . . . . . ." and lines[9] == ". . . . . . . . . A B C"
    assert lines[11] == "A =" and lines[12] == "1 2 3 . . . . . . . . ."
    assert max(map(len, lines)) <= 80


def test_too_large_to_print_says_what_shows_it():
    done = ok("matrix", "--input", "60x60", "-k", "3x3")
    assert done.stdout.decode().startswith("3364x3600: ")
    assert b"too large for 80 columns: -o W.png" in done.stderr


def test_a_sparse_file_opens_in_scipy(tmp_path):
    ok("matrix", "--input", "3@7x6", "-k", "sobel-x", "--padding", "1", "-o", tmp_path / "w.npz")
    found = scipy.sparse.load_npz(tmp_path / "w.npz")
    expected = matrix_of(load_kernel("sobel-x"), (7, 6), 3, padding="1")
    assert found.format == "csr" and found.has_canonical_format
    assert (found.toarray() == expected.dense()).all()
    assert found.nnz == np.count_nonzero(expected.dense()) < len(expected.values)


def test_dense_files(tmp_path):
    ok("matrix", "--input", "4x4", "-k", "1/3,2;3,4", "-o", tmp_path / "w.csv")
    ok("matrix", "--input", "4x4", "-k", "1/3,2;3,4", "-o", tmp_path / "w.npy")
    expected = matrix_of(load_kernel("1/3,2;3,4"), (4, 4)).dense()
    assert (np.loadtxt(tmp_path / "w.csv", delimiter=",") == expected).all()
    assert (np.load(tmp_path / "w.npy") == expected).all()


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def test_pictures_show_signs_and_shrink_large_matrices(tmp_path):
    ok("matrix", "--input", "5", "-k", "-1,0,2", "-o", tmp_path / "w.png")
    picture = pixels_of(tmp_path / "w.png")
    assert picture.shape == (3 * 48, 5 * 48, 3)
    blue, grey, orange, empty = (picture[4, 48 * column + 4] for column in range(4))
    assert (
        blue[2] > blue[0] and orange[0] > orange[2] and np.ptp(grey) < 10 and empty.min() > 240 > grey.max()
    )
    ok("matrix", "--input", "60x60", "-k", "sobel-x", "-o", tmp_path / "large.png")
    large = pixels_of(tmp_path / "large.png")
    assert large.shape == (1121, 1200, 3)
    for y, x in ((0, 1), (29, 18), (57, 40)):  # the first tap of some outputs: a weight of -1
        pixel = large[(y * 58 + x) * 1121 // 3364, (y * 60 + x) * 1200 // 3600]
        assert pixel[2] > pixel[0] + 20


def test_verify_multiplies_the_samples_numbers():
    text = ok("matrix", "-k", "1,2;3,4", "--verify", SAMPLES / "book-pool.csv").stdout.decode()
    assert "W vec(X)    = 118 245 373 180 308 433 240 366 495\n" in text
    assert "convolution = 118 245 373 180 308 433 240 366 495\n" in text
    assert text.endswith("equal: the largest difference is 0\n")


def test_verify_takes_a_header_of_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("2019,2020,2021\n1,2,3\n4,5,6\n7,8,9\n")
    want = signal.correlate2d(np.arange(1, 10).reshape(3, 3), [[1, 2], [3, 4]], mode="valid").ravel()
    job = ("matrix", "-k", "1,2;3,4", "--verify", "a.csv", "--header")
    assert f"= {' '.join(map(str, want))}\nequal" in ok(*job, "yes", cwd=tmp_path).stdout.decode()
    assert f"{' '.join(map(str, want))}\nequal" in ok(*job, "no", cwd=tmp_path).stdout.decode()
    assert f"= {' '.join(map(str, want))}\nequal" not in ok(*job, "no", cwd=tmp_path).stdout.decode()
    np.save(tmp_path / "a.npy", np.eye(3))
    done = convcli(*job[:4], "a.npy", "--header", "yes", cwd=tmp_path)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1) and b"--header is for tables" in done.stderr


def test_verify_with_a_transposed_convolution_gives_the_books_numbers():
    done = ok(
        *("matrix", "-k", "1,2;3,4", "--transpose", "--stride", "2", "--json"),
        *("--verify", SAMPLES / "book-transposed.csv"),
    )
    facts = json.loads(done.stdout)
    assert facts["shape"] == [16, 4] and facts["verify"] == {"equal": True, "difference": 0.0}
    expected = [5, 10, 6, 12, 15, 20, 18, 24, 7, 14, 8, 16, 21, 28, 24, 32]
    assert (np.array(facts["matrix"]) @ [5, 6, 7, 8]).tolist() == expected


def test_verify_a_photo_in_every_channel():
    done = ok(
        *("matrix", "-k", "gaussian:sigma=1", "--padding", "2", "--pad-mode", "reflect"),
        *("--verify", SAMPLES / "rgb-3x32x32.npy", "--input", "3x32x32", "--json"),
    )
    assert json.loads(done.stdout)["verify"]["equal"]


def test_a_mode_alone_keeps_the_size_as_filter_does():
    text = ok("matrix", "--input", "4", "-k", "1,2,4", "--pad-mode", "circular", "-q").stdout.decode()
    assert text == "2 4 . 1\n1 2 4 .\n. 1 2 4\n4 . 1 2\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-k", "3"), "--input says how large the input is"),
        (("--input", "3", "-k", "5"), "kernel 5 is larger than the input 3 with padding 0:0: 2 more needed"),
        (("--input", "4", "-k", "3x3"), "kernel '3x3': rank 2, and the data has only the axes x"),
        (("--input", "4x4", "-k", "3", "--verify", SAMPLES / "book-signal.csv"), "they must agree"),
        (("--input", "0", "-k", "3"), "input 0 is not possible"),
        (("--input", "4", "-k", "0"), "kernel size '0' is not possible"),
        (("--input", "4000x4000", "-k", "5x5"), "entries, more than"),
        (("--input", "4", "-k", "3", "-o", "w.xyz"), "unknown suffix '.xyz'"),
        (("--input", "300x300", "-k", "2x2", "-o", "w.csv"), "nearly all of them 0: write .npz"),
        (("--input", "4", "-k", "3", "--transpose", "--pad-mode", "zero"), "there padding crops"),
        (("--input", "4x4", "-k", "sobel"), "which is not linear"),
        (("--input", "4x4x4x4", "-k", "3"), "use 1 to 3 axes"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(tmp_path: Path, arguments, message):
    done = convcli("matrix", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.decode() and done.stderr.count(b"\n") == 1 and not done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(tmp_path):
    (tmp_path / "w.npz").write_bytes(b"mine")
    done = convcli("matrix", "--input", "4", "-k", "3", "-o", "w.npz", cwd=tmp_path)
    assert done.returncode == 1 and b"exists" in done.stderr
    assert (tmp_path / "w.npz").read_bytes() == b"mine"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_samples_that_are_no_numbers_are_compared_as_they_are(value: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"v\n1\n2\n{value}\n4\n5\n6\n")
    done = ok("matrix", "-k", "1,2,1", "--verify", "a.csv", cwd=tmp_path)
    assert b"equal: the largest difference is 0" in done.stdout
    assert b"Warning" not in done.stderr


def test_vectors_that_are_compared_are_written_alike_and_arrays_have_axes(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(24.0).reshape(2, 3, 4) / 7)
    said = ok("matrix", "-k", "1,1,1", "--verify", tmp_path / "a.npy", "--axes", "CYX", "-q")
    lines = said.stdout.decode().splitlines()[-4:-1]
    assert all(line.partition("= ")[0] and "/" not in line for line in lines)
    assert lines[1].partition("= ")[2] == lines[2].partition("= ")[2]


# Symbols


@pytest.mark.parametrize(
    ("kernel", "options", "scipys"),
    [
        ("w0,w1,w2", (), None),
        ("w0 w1 w0", ("--pad-mode", "reflect"), "mirror"),
        ("w0,w1,-1/2", ("--pad-mode", "replicate"), "nearest"),
        ("w0,w1,w2", ("--pad-mode", "circular"), "wrap"),
        ("w0,2,w2", ("--flip", "--stride", "2"), None),
    ],
)
def test_weights_may_be_symbols(kernel: str, options: tuple[str, ...], scipys: str | None) -> None:
    """Numbers in the place of the symbols give the matrix of scipy's correlation."""
    found = json.loads(ok("matrix", "--input", "6", "-k", kernel, *options, "--json").stdout)["matrix"]
    values = {"w0": 3.0, "w1": -7.0, "w2": 11.0}
    weights = [values.get(one) or eval(one) for one in re.split("[ ,]", kernel)]
    weights = weights[::-1] if "--flip" in options else weights
    expected = np.array(
        [ndimage.correlate1d(unit, weights, mode=scipys or "constant") for unit in np.eye(6)]
    ).T
    expected = expected if scipys else expected[1:-1]
    texts = [[re.sub(r"(\d)w", r"\1*w", cell) for cell in row] for row in found]
    numbers = [[eval(cell, dict(values)) for cell in row] for row in texts]
    np.testing.assert_array_equal(numbers, expected[:: 2 if "--stride" in options else 1])


def test_symbols_stand_in_the_matrix_as_texts_print_it() -> None:
    lines = ok("matrix", "--input", "5", "-k", "w0,w1,w2", "-q").stdout.decode().split("\n")
    assert [line.split() for line in lines[:2]] == [
        ["w0", "w1", "w2", ".", "."],
        [".", "w0", "w1", "w2", "."],
    ]
    lines = (
        ok("matrix", "--input", "4", "-k", "a,b,a", "--pad-mode", "reflect", "-q").stdout.decode().split("\n")
    )
    assert lines[0].split() == ["b", "2a", ".", "."]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-k", "a,b", "-o", "W.npz"), "'a,b': symbols have no values"),
        (("-k", "a,b", "--pad-mode", "constant", "--pad-value", "2"), "'a,b': constant padding adds symbols"),
        (("-k", "a,b+"), "no kernel named 'a,b+'"),
        (("-k", "a"), "no kernel named 'a'"),
    ],
)
def test_symbols_that_no_matrix_shows_are_refused(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = convcli("matrix", "--input", "5", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1) and message in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []
