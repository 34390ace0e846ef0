"""How much memory a file may take: one budget of bytes, asked before memory is set aside for what a file says.

What is asked for is what the work takes, copies included, as measured.
"""

from convcli.common.errors import ConvError
from convcli.common.machine import available_memory

PIXEL = 40  # bytes that a pixel takes at most where a picture is decoded whole and filtered (measured)
PIXELS = 256_000_000  # pixels that are decoded whole, unless --max-pixels says otherwise
MODEST = 160_000_000  # bytes that any file may take, however small: the program itself takes 40 MB
GROWTH = 1000 * PIXEL  # bytes that a file may take for each of its own
_UNASKED = 1 << 28  # bytes that are not compared with the free memory


def allowed(stored: int | None, pixels: int | None = PIXELS, growth: int = GROWTH) -> int | None:
    """Return how many bytes a file of `stored` bytes may take, None without a limit.

    >>> allowed(1_000), allowed(1_000_000), allowed(10**9), allowed(1_000, pixels=300_000_000)
    (160000000, 10240000000, 10240000000, 12000000000)
    """
    most = None if pixels is None else pixels * PIXEL
    if stored is None or pixels != PIXELS:  # a limit that was asked for is the only one
        return most
    return min(PIXELS * PIXEL, max(MODEST, growth * stored))


def allow(
    wanted: int,
    what: str,
    stored: int | None = None,
    pixels: int | None = PIXELS,
    growth: int = GROWTH,
    advice: str = "",
) -> None:
    """Refuse what takes more bytes than a file may.

    Parameters
    ----------
    wanted
        Bytes, copies on the way included.
    what
        What takes them, as it is printed.
    stored
        The size of the file, None where it does not bound what is read.
    pixels
        What ``--max-pixels`` says.
    growth
        Bytes that each one of the file may become.
    advice
        What to do, where no ``--max-pixels`` helps.

    Raises
    ------
    ConvError
        With the bytes, the limit, and the flag that raises it.
    """
    most = allowed(stored, pixels, growth)
    if most is not None and wanted > most:
        small = f" for so small a file, {stored:,} bytes" if stored and most < PIXELS * PIXEL else ""
        flag = f"filter, motion, net and learn allow it with --max-pixels {-(-wanted // (PIXEL * 1_000_000))}"
        raise ConvError(
            f"{what} would take {mega(wanted)} MB of memory, and {mega(most)} MB are allowed{small} ({advice or flag})"
        )


def check_memory(what: str, wanted: int) -> None:
    """Refuse what takes more memory than is free.

    Raises
    ------
    ConvError
    """
    free = available_memory() if wanted > _UNASKED else None
    if free is not None and wanted > free:
        raise ConvError(f"{what} would take {mega(wanted)} MB of memory, and {mega(free)} MB are free")


def mega(size: int) -> str:
    """Return bytes as millions of them, for messages."""
    return f"{size // 1_000_000:,}"
