"""Means of bytes over boxes: running sums down the rows, doubled sums along them, whole numbers all the way.

Down the rows each sum is the one above, plus the row that enters the box, less the one that leaves it.  Along a row,
sums of 2, 4, 8… neighbours are each made of two of half their size, and the box is put together of them, from its
right to its left: 31 columns are 32 from the first one on, less the one behind them, as 31 = 32 - 1
(`signed_digits`).  A tile's rows lie one behind the other without gaps, so that sums at a row's end run on into the
next one: such results are left out.

Sums have 16 bits while they fit, and are floats after that, which hold them exactly
(`convcli.engines.work.Work.exact_box` says of which boxes that is true).  As in `convcli.engines.on_torch.bytes` a
tile stays in the cache from its first step to its last, without Python's lock.
"""

from typing import List, Tuple  # noqa: UP035  # TorchScript knows no others

import numpy as np
import torch

from convcli.engines.on_torch.products import script
from convcli.engines.on_torch.rounding import Rounding, round_to_bytes
from convcli.engines.work import SHORT

TILE = 1 << 16  # elements (measured)


def filter_box(x: torch.Tensor, kernel: np.ndarray, shift: int, how: Rounding, out: torch.Tensor) -> int:
    """Fill ``out`` (Y, X) with the rounded correlation; return how many values lay outside 0…255.

    Parameters
    ----------
    x : Tensor
        Bytes, ``(Y + rows - 1, X + shift * (columns - 1))``.
    kernel : ndarray
        ``(rows, columns)``, all weights alike: the `unit` of ``how``.
    shift : int
        Elements between two columns.
    """
    rows, columns = kernel.shape
    width = x.shape[1]
    tile = min(max(TILE // width, 1), out.shape[0])
    digits = signed_digits(columns)
    short = 0
    while short < len(digits) - 1 and 255 * rows << (short + 1) < SHORT:
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
    """Do the work of `filter_box`.

    Parameters
    ----------
    rows, columns : int
        Of the box.
    short, long : list of int
        The signed digits of ``columns`` but the highest: those of sums of 16 bits, and of sums in floats.
    total, bits : Tensor
        A tile as float32, as wide as ``x``, and the same memory as int32.
    """
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
        lines[0].copy_(lines[tile])
        entering[:many].copy_(x[start + rows - 1 : start + rows - 1 + many])
        if start == 0:
            leaving[0].zero_()
            leaving[1:many].copy_(x[: many - 1])
        else:
            leaving[:many].copy_(x[start - 1 : start - 1 + many])
        entering.sub_(leaving)
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
    """Add up the terms of some digits, and double the sums once for each of them.

    Parameters
    ----------
    sums : Tensor
        Of ``size`` neighbours each, one for each place where they begin.
    first, second : Tensor
        What they become in turns; ``sums`` may be ``second``.
    place : int
        The columns of the box from its left that are still to be covered.
    limit : int
        The columns from the left of any sum's first place to its last column.
    shift : int
        Elements between two columns.
    n : int
        Elements of the tile.
    sign : int
        Whether ``part`` is to be added, is to be subtracted (-1), or holds nothing yet (0).
    part : Tensor
        The terms of the lower digits; those of these digits are added.

    Returns
    -------
    sums, place, sign
        For the digits after these.
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
