"""Range policies: read from text, and written back."""

from __future__ import annotations

from pathlib import Path

import pytest

from convcli.common.errors import UsageError
from convcli.pixels.ranges import (
    POLICIES,
    Abs,
    Bound,
    Clip,
    Float,
    MinMax,
    Offset,
    Percentile,
    Range,
    Window,
    parse_range,
)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "edges-and-values.md").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clip", Clip()),
        ("abs", Abs()),
        ("offset", Offset()),
        ("offset:2", Offset(gain=2)),
        ("offset:1/2", Offset(gain=0.5)),
        ("minmax", MinMax()),
        ("percentile:1:99", Percentile(1, 99)),
        ("percentile: 1/2 :1e2", Percentile(0.5, 100)),
        ("float", Float()),
        ("-10:10", Window(Bound(-10), Bound(10))),
        (" 1e-3 : .5 ", Window(Bound(0.001), Bound(0.5))),
        ("0%:400%", Window(Bound(0, True), Bound(400, True))),
        ("0:400%", Window(Bound(0, True), Bound(400, True))),
    ],
)
def test_parse(text: str, expected: Range) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize(
    "text", ["clip", "abs", "offset", "offset:2", "offset:0.1", "-0.5:1e+20", "0%:141.4213562373095%"]
)
def test_written_as_it_is_read(text: str) -> None:
    policy = parse_range(text)
    assert str(policy) == text
    assert parse_range(str(policy)) == policy


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_has_an_example(policy: type[Range]) -> None:
    example = parse_range(policy.example)
    assert type(example) is policy
    assert str(example) == policy.example
    assert f"| `{policy.form.partition('[')[0]}` |" in DOCUMENT or f"| `{policy.example}` |" in DOCUMENT


def test_a_long_gain_survives_being_written() -> None:
    policy = parse_range("offset:1/3")
    assert parse_range(str(policy)) == policy


def test_percent_follows_the_input_depth() -> None:
    policy = parse_range("-50%:400%")
    assert isinstance(policy, Window)
    assert policy.ends(255) == (-127.5, 1020.0)
    assert policy.ends(65535) == (-32767.5, 262140.0)
    assert Window(Bound(1), Bound(2)).ends(65535) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "range '' is not known"),
        ("clp", "did you mean clip"),
        ("offest:2", "did you mean offset"),
        ("window", "is not known"),
        ("clip:2", "is not known"),
        ("Clip", "is not known"),
        ("offset:", "'' is not a number"),
        ("offset:x", "'x' is not a number"),
        ("offset:0", "gain must be above 0"),
        ("offset:-2", "gain must be above 0"),
        ("offset:inf", "'inf' is not a number"),
        ("percentile", "give two percentiles, such as percentile:1:99"),
        ("percentile:5", "give two percentiles"),
        ("percentile:5:", "'' is not a number"),
        ("percentile:1:2:3", "'2:3' is not a number"),
        ("percentile:99:1", "LO must be below HI"),
        ("percentile:5:5", "LO must be below HI"),
        ("percentile:-1:5", "from 0 to 100"),
        ("percentile:1:101", "from 0 to 100"),
        ("percentil:1:99", "did you mean percentile"),
        ("5:1", "LO must be below HI"),
        ("5:5", "LO must be below HI"),
        ("1%:5", "both ends in percent or neither"),
        ("0:nan", "'nan' is not a number"),
        ("0:1:2", "'1:2' is not a number"),
        ("0:1e999", "beyond what a float holds"),
        ("0:1_000", "'1_000' is not a number"),
        ("0:", "is not known"),
        ("5", "is not known"),
    ],
)
def test_refused_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_range(text)
    message = str(caught.value)
    assert problem in message
    assert repr(text) in message
    assert "\n" not in message
    assert caught.value.exit_code == 2
