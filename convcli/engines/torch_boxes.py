"""Means of bytes over boxes: running sums down the rows, doubled sums along them, whole numbers all the way.

Sums have 16 bits while they fit, and are floats after that, which hold them exactly: `convcli.algorithms` offers no
box for which they would not.  As in `convcli.engines.torch_bytes` a tile stays in the cache from its first step to
its last, without Python's lock.
"""

from typing import List, Tuple  # noqa: UP035  # TorchScript knows no others

import numpy as np
import torch

from convcli.engines.torch_rounding import Rounding, round_to_bytes
from convcli.engines.torch_toeplitz import script

TILE = 1 << 16  # elements (measured)


def filter_box(x: torch.Tensor, kernel: np.ndarray, shift: int, how: Rounding, out: torch.Tensor) -> int:
    """Fill ``out`` (Y, X) with the rounded correlation; return how many values lay outside 0…255.

    Parameters
    ----------
    x : Tensor
        Bytes, ``(Y + rows - 1, X + shift * (columns - 1))``.
    kernel : ndarray
        ``(rows, columns)``, all weights alike.
    shift : int
        Elements between two columns.
    """
    rows, columns = kernel.shape
    how = how._replace(scale=how.scale * float(kernel[0, 0]))
    width = x.shape[1]
    tile = min(max(TILE // width, 1), out.shape[0])
    digits = signed_digits(columns)
    short = 0
    while short < len(digits) - 1 and 255 * rows << (short + 1) < 1 << 15:
        short += 1
    total = torch.empty([tile, width])
    bits = total.view(torch.int32)
    return script(_tiles)(x, rows, columns, shift, digits[:short], digits[short:-1], total, bits, how, out)


def signed_digits(number: int) -> list[int]:
    """Return the digits -1, 0 and 1 of which the fewest are not 0, the lowest first.

    The non-adjacent form of Reitwiesner, 1960; each digit that is not 0 is a sum to be added, or subtracted.

    >>> signed_digits(5), signed_digits(31)
    ([1, 0, 1], [-1, 0, 0, 0, 0, 1])
    """
    digits = []
    while number:
        digit = 2 - number % 4 if number % 2 else 0
        digits.append(digit)
        number = (number - digit) // 2
    return digits


def _tiles(
    x: torch.Tensor,
    rows: int,
    columns: int,
    shift: int,
    short: List[int],  # noqa: UP006
    long: List[int],  # noqa: UP006
    total: torch.Tensor,
    bits: torch.Tensor,
    how: Rounding,
    out: torch.Tensor,
) -> int:
    """Do the work of `filter_box`; ``short`` digits in 16 bits, ``long`` ones in floats."""
    height, width = out.size(0), out.size(1)
    tile, pitch = total.size(0), total.size(1)
    limit = 2 * columns  # sums that begin in a row's last column reach no further beyond it
    space = tile * pitch + limit * shift
    # Taken once and used for several things each: the fewer they are, the more of them are in the cache.
    level, other = torch.empty([space], dtype=torch.int16), torch.empty([space], dtype=torch.int16)
    entering = level[: tile * pitch].view(tile, pitch)
    leaving = other[: tile * pitch].view(tile, pitch)
    running = torch.zeros([pitch + space], dtype=torch.int16)
    lines = running[: (tile + 1) * pitch].view(tile + 1, pitch).unbind(0)
    changes = entering.unbind(0)
    part = torch.empty([tile * pitch], dtype=torch.int16)
    floats, others = torch.empty([space]), torch.empty([space])
    flat = total.view(-1)
    lines[tile].copy_(x[: rows - 1].sum(0, dtype=torch.int16))
    clipped = 0
    for start in range(0, height, tile):
        many = min(tile, height - start)
        entering[:many].copy_(x[start + rows - 1 : start + rows - 1 + many])
        if start == 0:
            leaving[0].zero_()
            leaving[1:many].copy_(x[: many - 1])
        else:
            leaving[:many].copy_(x[start - 1 : start - 1 + many])
        entering.sub_(leaving)
        lines[0].copy_(lines[tile])
        for line in range(many):
            torch.add(lines[line], changes[line], out=lines[line + 1])
        n = many * pitch
        sums, place, sign = _doubled(
            running[pitch:], level, other, short, 1, columns, limit, shift, n, 0, part[:n]
        )
        size = 1 << len(short)
        length = n + (limit - size) * shift
        floats[:length].copy_(sums[:length])
        if sign != 0:
            flat[:n].copy_(part[:n])
        sums, place, sign = _doubled(
            floats, others, floats, long, size, place, limit, shift, n, sign, flat[:n]
        )
        if sign > 0:
            flat[:n].add_(sums[:n])
        elif sign < 0:
            torch.sub(sums[:n], flat[:n], out=flat[:n])
        else:
            flat[:n].copy_(sums[:n])
        whole = leaving[:many, :width]
        clipped += round_to_bytes(
            total[:many, :width], bits[:many, :width], whole, how, 0, out[start : start + many]
        )
    return clipped


def _doubled(
    sums: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    digits: List[int],  # noqa: UP006
    size: int,
    place: int,
    limit: int,
    shift: int,
    n: int,
    sign: int,
    part: torch.Tensor,
) -> Tuple[torch.Tensor, int, int]:  # noqa: UP006
    """Return sums of ``size`` neighbours doubled once for each digit, and the place and sign of what is in ``part``.

    ``part`` gets the terms of the box so far, which end at its right: ``sign`` times them, nothing where it is 0.
    """
    for digit in digits:
        if digit > 0:
            place -= size
        if digit != 0:
            term = sums[place * shift : place * shift + n]
            if sign == 0:
                part.copy_(term)
                sign = digit
            elif sign == digit:
                part.add_(term)
            elif digit > 0:
                torch.sub(term, part, out=part)
                sign = 1
            else:
                part.sub_(term)
        if digit < 0:
            place += size
        length = n + (limit - 2 * size) * shift
        torch.add(sums[:length], sums[size * shift : length + size * shift], out=first[:length])
        sums = first
        first, second = second, first
        size *= 2
    return sums, place, sign
