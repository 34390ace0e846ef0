"""The plan: what it chooses from sizes alone, how it explains itself, and what it refuses."""

from __future__ import annotations

import pickle
from math import prod
from typing import Any

import numpy as np
import pytest

from convcli.common.choices import EngineName
from convcli.common.errors import ConvError
from convcli.engines.algorithms import ALGORITHMS
from convcli.engines.native import library
from convcli.geometry.grammar import parse_pool
from convcli.geometry.padding import PaddingName, PadMode
from convcli.jobs.bind import Settings, bind
from convcli.jobs.chain import Chain
from convcli.kernel import analysis, load_kernel
from convcli.kernel.analysis import separable_terms
from convcli.kernel.model import Kernel
from convcli.plan import choose as choose_module
from convcli.plan.choose import MOST_MEMORY, Plan, Resources, choose


def chain_of(kernel: str | int, sizes: tuple[int, ...] = (3000, 4000), channels: int = 1, **how) -> Chain:
    random = np.random.default_rng(0)
    one = (
        load_kernel(kernel)
        if isinstance(kernel, str)
        else Kernel.from_array(random.normal(size=(kernel,) * len(sizes)))
    )
    return bind([one], Settings(**how), "TYX"[-len(sizes) :], sizes, channels)


def plan_of(
    chain: Chain,
    engine: EngineName = EngineName.AUTO,
    *,
    loaded: bool = True,
    threads: int = 2,
    source: str = "float32",
    result: str = "float32",
) -> Plan:
    return choose(
        chain,
        0,
        Resources(engine, threads=threads),
        source=source,
        result=result,
        torch_loaded=loaded,
    )


def names(plan: Plan) -> tuple[str, ...]:
    return tuple(str(algorithm) for algorithm in plan.algorithms)


@pytest.fixture(params=["loops", "no loops"], autouse=True)
def _loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is made with the compiled loops, and without them."""
    if request.param == "no loops":
        monkeypatch.setattr(library, "loops", lambda: None)
    choose_module._choose.cache_clear()


@pytest.mark.parametrize(
    ("kernel", "engine", "algorithm"),
    [
        (5, EngineName.TORCH, "direct"),
        (63, EngineName.TORCH, "fft"),
        (255, EngineName.TORCH, "fft"),
        ("gaussian:sigma=1", EngineName.TORCH, "separable"),
        ("gaussian:sigma=8", EngineName.NUMPY, "separable"),
        ("box:31", EngineName.NUMPY, "box"),
        (3, EngineName.NUMPY, "direct"),
        (255, EngineName.AUTO, "fft"),
    ],
)
def test_each_kernel_gets_its_algorithm(kernel: str | int, engine: EngineName, algorithm: str) -> None:
    plan = plan_of(chain_of(kernel), engine)
    assert engine in (plan.engine, EngineName.AUTO)
    assert names(plan) == (algorithm,)


@pytest.mark.parametrize("kernel", [3, 5, 9, "gaussian:sigma=3", "box:31", "sobel"])
@pytest.mark.parametrize("source", ["uint8", "uint16", "float32"])
def test_small_kernels_are_sums_of_rows(kernel: str | int, source: str) -> None:
    plan = plan_of(chain_of(kernel), source=source, result=source)
    assert plan.engine is EngineName.NUMPY or library.loops() is None


@pytest.mark.parametrize(
    ("kernel", "source", "how", "algorithm"),
    [
        ("1/25,2/25,3/25;4/25,5/25,4/25;3/25,2/25,1/25", "uint8", {}, "integer"),
        ("1/25,2/25,3/25;4/25,5/25,4/25;3/25,2/25,1/25", "float32", {}, "direct"),
        ("0,-1,0;-1,5,-1;0,-1,0", "uint8", {"pad_mode": PadMode.CONSTANT, "pad_value": 7}, "integer"),
        ("0,-1,0;-1,5,-1;0,-1,0", "uint8", {"pad_mode": PadMode.CONSTANT, "pad_value": 7.5}, "direct"),
        ("0,-1,0;-1,5,-1;0,-1,0", "uint8", {"pad_mode": PadMode.CONSTANT, "pad_value": 300}, "direct"),
        ("250,-1,0;-1,5,-1;0,-1,0", "uint8", {}, "direct"),  # sums of 16 bits would have more than 24
    ],
)
def test_small_integers_are_summed_exactly(
    kernel: str, source: str, how: dict[str, Any], algorithm: str
) -> None:
    plan = plan_of(chain_of(kernel, **how), EngineName.NUMPY, source=source, result="uint8")
    assert names(plan) == (algorithm,)


@pytest.mark.parametrize(("inputs", "outputs"), [(32, 64), (64, 64)])
def test_banks_of_many_channels_are_torchs(inputs: int, outputs: int) -> None:
    """A block holds its inputs, the same with padding, and its outputs; not each input for each output."""
    bank = Kernel.from_array(np.ones((outputs, inputs, 3, 3)))
    chain = bind([bank], Settings(), "YX", (512, 512), inputs)
    plan = plan_of(chain)
    assert (plan.engine, names(plan)) == (EngineName.TORCH, ("native",))
    arrays = 4 * (inputs * (512 * 512 + 514 * 514) + outputs * 512 * 512)
    assert arrays < plan.cut(0, 512).memory < 1.3 * arrays


def test_blocks_come_in_whole_turns_of_the_threads() -> None:
    """No short block is left over for which all but one thread would wait."""
    for height in (3000, 3001, 2999, 4096):
        chain = chain_of(3, (height, 4000))
        plan = plan_of(chain, EngineName.TORCH)
        assert -(-height // plan.steps[0]) % 2 == 0, (height, plan.steps[0])


def test_torchs_import_is_one_of_the_costs() -> None:
    small = chain_of(63, (512, 512))
    assert plan_of(small, loaded=True).engine is EngineName.TORCH
    assert plan_of(small, loaded=False).engine is EngineName.NUMPY
    assert plan_of(chain_of(63), loaded=False).engine is EngineName.NUMPY
    assert plan_of(chain_of(255, (60_000, 60_000)), loaded=False).engine is EngineName.TORCH


def test_other_devices_need_torch() -> None:
    plan = choose(chain_of(3, (9, 9)), 0, Resources(device="cuda", threads=1), torch_loaded=False)
    assert plan.engine is EngineName.TORCH
    assert "only torch runs on cuda" in plan.reason


def test_a_plan_says_what_it_rejected_and_why() -> None:
    plan = plan_of(chain_of("gaussian:sigma=2"))
    seconds = [candidate.seconds for candidate in plan.rejected]
    assert seconds == sorted(seconds)
    assert all(plan.seconds <= other for other in seconds)
    ways = {(c.engine.value, str(c.algorithms[0])) for c in plan.rejected} | {
        (plan.engine.value, str(plan.algorithms[0]))
    }
    assert {("numpy", "direct"), ("torch", "fft"), ("numpy", "separable")} <= ways
    first, second, *others = plan.lines
    assert first.startswith("numpy separable: about " if library.loops() else "torch separable: about ")
    assert second == f"blocks of {plan.steps[0]}x4000, 2 threads"
    assert len(others) == len(plan.rejected)
    assert all(line.startswith("rejected: ") and "\n" not in line for line in plan.lines[2:])


def test_stages_without_a_choice_are_left_to_the_engine() -> None:
    pooled = bind([load_kernel("box:3")], Settings(pool=parse_pool("max:2")), "YX", (60, 60), 1)
    assert plan_of(pooled).algorithms[1] is None
    laid = chain_of("box:3", (60, 60), transposed=True)
    assert plan_of(laid).algorithms == (None,)


def test_strides_keep_to_algorithms_that_have_them() -> None:
    plan = plan_of(chain_of(63, stride=(2,)))
    assert names(plan) == ("direct",)


def test_blocks_of_a_transform_are_whole_tiles() -> None:
    plan = plan_of(chain_of(31))
    assert plan.steps[0] % (512 - 30) == 0


def test_a_core_for_each_block_or_all_for_one() -> None:
    plan = plan_of(chain_of(9), threads=4)
    assert (plan.workers, plan.engine_threads) == (4, 1)
    alone = plan.cut(0, 3000)
    assert (alone.workers, alone.engine_threads) == (1, 4)
    assert plan.cut(0, 1000).workers == 3
    assert alone.cut(1, 2000).workers == 2  # blocks are counted along every axis


def test_memory_that_does_not_suffice_is_said_before_work_starts() -> None:
    plan = plan_of(chain_of(255))
    needed = plan.memory
    assert 3000 * 4000 * 4 < needed < 4e9
    plan.check_memory(available=needed)
    with pytest.raises(ConvError, match=r"need about \d\.\d GB and 0\.1 GB are free") as caught:
        plan.check_memory(available=10**8)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_every_algorithm_states_an_error_within_the_contract() -> None:
    assert set(ALGORITHMS) == {EngineName.NUMPY, EngineName.TORCH}
    for engine, found in ALGORITHMS.items():
        assert len({one.name for one in found}) == len(found) > 1
        assert all(one.engine is engine and 0 < one.error <= 1e-5 for one in found)


def test_a_plan_means_the_same_in_another_process() -> None:
    plan = plan_of(chain_of("gaussian:sigma=2"))
    assert pickle.loads(pickle.dumps(plan)) == plan


# Terms


def rebuilt(terms: tuple[tuple[tuple[float, ...], ...], ...]) -> np.ndarray:
    letters = "abc"[: len(terms[0])]
    outer = ",".join(letters) + "->" + letters
    return sum(np.einsum(outer, *map(np.array, term)) for term in terms)


@pytest.mark.parametrize("size", [(5,), (3, 4), (17, 9), (2, 3, 4), (80, 70)])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_terms_add_up_to_the_kernel(size: tuple[int, ...], count: int, dtype: str) -> None:
    random = np.random.default_rng(2)
    outer = ",".join("abc"[: len(size)]) + "->" + "abc"[: len(size)]
    kernel = sum(np.einsum(outer, *(random.normal(size=k) for k in size)) for _ in range(count)).astype(dtype)
    terms = separable_terms(kernel)
    assert terms is not None
    assert len(terms) <= count if len(size) == 2 else len(terms) >= 1
    tolerance = 2.0**-23 if dtype == "float32" else 2.0**-45
    assert np.abs(rebuilt(terms) - kernel).sum() <= tolerance * np.abs(kernel).sum()


SHARPER = "-1,-4,-6,-4,-1;-4,-16,-24,-16,-4;-6,-24,476,-24,-6;-4,-16,-24,-16,-4;-1,-4,-6,-4,-1"


@pytest.mark.parametrize("name", [SHARPER, "laplacian4", "laplacian8", "sharpen", "emboss"])
def test_terms_of_short_numbers_are_exact_on_every_machine(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ties of halves depend on the last bit of a sum, and singular values of LAPACK on the processor's vectors."""
    monkeypatch.setattr(np, "linalg", None)
    analysis._cached.cache_clear()
    kernel = load_kernel(name).array()[0, 0]
    for dtype in (np.float32, np.float64):
        terms = separable_terms(kernel.astype(dtype))
        assert terms is not None
        np.testing.assert_array_equal(rebuilt(terms), kernel.astype(dtype))


def test_a_dense_kernel_has_no_few_terms() -> None:
    assert separable_terms(np.random.default_rng(0).normal(size=(15, 15))) is None


def test_factors_of_whole_numbers_stay_whole_and_never_overflow_on_the_way() -> None:
    """But for powers of two, which change no sum: along the first axis the results are no larger than the data."""
    (first, last), *_ = separable_terms(np.outer([1.0, 2, 1], [-1.0, 0, 1]))
    assert (np.array(first) * 8).tolist() == [1, 2, 1]
    assert (np.array(last) / 8).tolist() == [-1, 0, 1]
    assert sum(map(abs, first)) <= 1


def test_the_halo_is_what_one_output_sees() -> None:
    """Counted in steps of the output, and by listing the inputs instead of by the formula."""
    kernels = [Kernel.from_array(np.ones((5, 1))), Kernel.from_array(np.ones((7, 1)))]
    chain = bind(kernels, Settings(stride=(2,), dilation=(3,)), "YX", (900, 40), 1)
    middles = {7 * 2 + 3 * tap for tap in range(7)}  # of output 7, among the outputs of the first kernel
    seen = {middle * 2 + 3 * tap for middle in middles for tap in range(5)}
    steps = (max(seen) - min(seen) + 1) / (2 * 2)
    assert steps <= choose_module.halo(chain, 0) < steps + 1


@pytest.mark.parametrize("engine", [EngineName.NUMPY, EngineName.TORCH])
def test_a_block_of_a_wide_picture_is_two_halos_long(engine: EngineName) -> None:
    """Shorter ones read and convert more than half as much again; longer ones take memory."""
    plan = plan_of(chain_of(41, (6000, 200_000), dilation=(2,), stride=(2,)), engine, threads=1)
    assert names(plan) == ("direct",)
    halo = (2 * (41 - 1) + 1 + 1) // 2
    assert choose_module.halo(plan.job.chain, 0) == halo
    assert 2 * halo <= plan.steps[0] < 2 * halo + 16  # rounded up to groups of rows


def test_memory_counts_what_blocks_see_and_what_waits_to_be_written() -> None:
    plan = plan_of(
        chain_of("box:101", (6000, 3000), padding=(PaddingName.VALID,)), EngineName.NUMPY, threads=1
    )
    seen, made = (plan.steps[0] + 100) * 3000 * 4, plan.steps[0] * 2900 * 4
    rows = 101 * 3000 * 4  # that a window spans, as floats
    copies = rows if library.loops() else seen + 2 * made  # with padding; products, and half a sum
    # one is computed, one written, and the file's library may hold the one before
    assert plan.memory == seen + copies + 3 * made
    bytes_ = plan_of(chain_of("box:101", (6000, 3000), padding=(PaddingName.VALID,)), EngineName.NUMPY, threads=1,
                     source="uint8", result="uint8")  # fmt: skip
    if library.loops():
        assert bytes_.memory == (bytes_.steps[0] + 100) * 3000 + rows + 3 * bytes_.steps[0] * 2900


def test_memory_counts_sums_of_another_type_than_the_result() -> None:
    """Sums of 16 bits in double precision become single precision in an array of their own."""
    plan = choose(
        chain_of("box:101", (6000, 3000), padding=(PaddingName.VALID,)), 0, Resources(EngineName.NUMPY, threads=1),
        source="uint16", dtype="float64", result="float32",
    )  # fmt: skip
    outputs = plan.steps[0] * 2900
    read, sums, single = (plan.steps[0] + 100) * 3000 * 2, outputs * 8, outputs * 4
    assert plan.memory >= read + sums + 3 * single
    if library.loops():  # which need no copy with padding
        assert plan.memory <= 1.1 * (read + sums + 3 * single)


def test_work_that_is_done_often_takes_as_many_times_as_long() -> None:
    once, often = (
        choose(chain_of(9), 0, Resources(EngineName.NUMPY, threads=1), times=times) for times in (1, 3)
    )
    assert often.seconds == pytest.approx(3 * once.seconds)
    assert often.cut(0, 1).seconds - often.seconds == pytest.approx(
        3 * (once.cut(0, 1).seconds - once.seconds)
    )


# Bricks


def bricks(sizes: tuple[int, ...], kernel: str = "box:31x31x31", cuts: tuple[int, ...] | None = None) -> Plan:
    chain = chain_of(kernel, sizes)
    cuts = (1,) * len(sizes) if cuts is None else cuts
    return choose(chain, 0, Resources(EngineName.NUMPY, threads=2), torch_loaded=False, cuts=cuts)


def test_strips_that_take_much_memory_are_cut_along_other_axes_too() -> None:
    strips = bricks((900, 1500, 1100), cuts=())
    cut = bricks((900, 1500, 1100))
    assert strips.steps[1:] == (1500, 1100)
    assert strips.memory > 2 * MOST_MEMORY > MOST_MEMORY >= cut.memory > MOST_MEMORY / 2
    assert cut.steps[0] == strips.steps[0]
    assert 2 * 31 <= cut.steps[1] < 1500
    assert cut.steps[2] == 1100  # rows stay whole where other axes are enough


def test_rows_are_cut_where_nothing_else_can_be() -> None:
    wide = bricks((300, 3_000_000), "box:31x31")
    assert wide.steps[0] >= 2 * 31
    assert wide.steps[1] < 3_000_000
    assert wide.memory <= MOST_MEMORY


@pytest.mark.parametrize("cuts", [(1, 1000, 1100), (1, 256, 1100), (1, 64, 64)])
def test_bricks_are_whole_pieces(cuts: tuple[int, ...]) -> None:
    plan = bricks((900, 1000, 1100), cuts=cuts)
    for n, step, unit in zip(plan.job.chain.output[1:], plan.steps[1:], cuts[1:], strict=True):
        assert step == n or step % unit == 0
    assert (plan.steps[1:] == (1000, 1100)) is (cuts[1] == 1000)


@pytest.mark.parametrize(
    ("kernel", "sizes"), [("gaussian:sigma=30", (3000, 4000)), ("box:3x3x3", (500, 600, 700))]
)
def test_strips_that_fit_stay_strips(kernel: str, sizes: tuple[int, ...]) -> None:
    assert bricks(sizes, kernel) == bricks(sizes, kernel, cuts=())


def test_a_machine_with_little_memory_gets_smaller_bricks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convcli.plan.choose.available_memory", lambda: 1 << 30)
    assert bricks((900, 1000, 1100)).memory <= 1 << 29


def test_a_result_that_no_machine_holds_is_planned_at_once() -> None:
    sizes = (10**9, 10**9, 10**9)
    chain = chain_of("box:3x3x3", sizes)
    plan = choose(chain, 0, Resources(EngineName.NUMPY, threads=2), cuts=(1, 1, 1))
    assert prod(plan.steps[1:]) < 10**9  # the strips are cut along the other axes too
