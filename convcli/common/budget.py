"""How much memory a file may take: one rule for each kind of file, asked before memory is set aside for what it says.

What is counted is what the work takes, copies included, as measured.
"""

from convcli.common.errors import ConvError, UsageError
from convcli.common.frozen import frozen
from convcli.common.machine import available_memory

PIXELS = 256_000_000  # pixels that are decoded whole, unless --max-pixels says otherwise
MODEST = 160_000_000  # bytes that any file may take, however small: the program itself takes 40 MB
TABLE = 8  # bytes of memory that a byte of a table takes at least
_PADDED = 20_000_000  # samples that any data may become by padding
UNASKED = 1 << 28  # bytes that are not compared with the free memory


@frozen
class Rule:
    """What files of a kind may become.

    Attributes
    ----------
    each : int
        Bytes of memory that one unit takes: a pixel, a weight, a number of a layer.
    growth : int
        Units that a file may have for each of its bytes.
    least : int
        Bytes of memory that any file may take, however small.
    most : int or None
        Units of any file, unless --max-pixels says otherwise; None without a limit.
    advice : str
        What to do, where no --max-pixels helps.
    """

    each: int
    growth: int
    least: int = MODEST
    most: int | None = PIXELS
    advice: str = ""

    def units(self, stored: int | None, pixels: int | None = PIXELS) -> int | None:
        """Return how many units a file of ``stored`` bytes may have, None without a limit.

        ``stored`` is None where the file does not bound what is read, ``pixels`` what ``--max-pixels`` says.

        >>> PICTURE.units(1_000), PICTURE.units(10_000_000), PICTURE.units(1_000, pixels=300_000_000)
        (4444444, 256000000, 300000000)
        """
        if pixels != PIXELS:  # a limit that was asked for is the only one
            return pixels
        modest = None if stored is None else max(self.least // self.each, self.growth * stored)
        return min((limit for limit in (self.most, modest) if limit is not None), default=None)

    def allow(self, units: int, what: str, stored: int | None = None, pixels: int | None = PIXELS) -> None:
        """Refuse more units than a file may have; the last two as in `units`.

        Raises
        ------
        ConvError
            With the bytes of memory, the limit, and the flag that raises it.
        """
        most = self.units(stored, pixels)
        if most is not None and units > most:
            small = f" for so small a file, {stored:,} bytes" if stored and most != self.most else ""
            flag = f"filter, motion, net and learn allow it with --max-pixels {-(-units // 1_000_000)}"
            raise ConvError(
                f"{what} would take {mega(units * self.each)} MB of memory, and {mega(most * self.each)} MB are "
                f"allowed{small} ({self.advice or flag})"
            )


# A pixel that is decoded whole and filtered, of 8 bits a channel; of a GIF; one that Pillow decodes in Python
PICTURE, GIF, IN_PYTHON = Rule(each=36, growth=1100), Rule(each=20, growth=1400), Rule(each=40, growth=15)
# A pixel of a clip, with the frames that its decoder keeps; any clip may have 4096 x 2160
FRAME = Rule(each=40, growth=1000, least=9_000_000 * 40)
# A sample of a sound, of those that are asked for at once
SOUND = Rule(each=16, growth=2500, most=640_000_000)
# A cell of a table of columns, which may be packed
CELLS = Rule(each=24, growth=40, most=None, advice="convert it to CSV")
# A component of a tile that OpenJPEG sets aside (measured: 3,400)
TILES = Rule(each=4096, growth=10, most=2_500_000)
# A weight of a kernel, as a Python number and in analysis
WEIGHTS = Rule(112, growth=9, most=10_000_000, advice="save them uncompressed, as .npy or .safetensors")
# A parameter of a net, a float64 and a float32 for torch: from a file, and what the net's text alone asks for
PARAMETERS, DRAWN = Rule(each=12, growth=83, most=None), Rule(each=12, growth=0, least=10**9)
# A number of a layer, beside that of the layer before, by the 4 bytes of each that comes in
NUMBERS = Rule(each=8, growth=250, most=5 * PIXELS)
# A number that a filter makes with the padding of a kernel's file, by the numbers that come in
OUTPUTS = Rule(8, growth=1000, most=None, advice="--padding and --dilation say others")
ARCHIVE = Rule(1, 100, most=None, advice="save the arrays with numpy.savez, which does not compress")
STATE_DICT = Rule(1, 4, least=0, most=None, advice="its tensors share their numbers: save copies of them")


def check_padding(padded: int, given: int) -> None:
    """Refuse padding that makes far more samples than are given.

    >>> check_padding(1_000_000_000, 1_000)
    Traceback (most recent call last):
    convcli.common.errors.UsageError: padding makes 1,000,000,000 samples of 1,000, and 20,000,000 are allowed
    """
    allowed = max(_PADDED, 1000 * given)
    if padded > allowed:
        raise UsageError(f"padding makes {padded:,} samples of {given:,}, and {allowed:,} are allowed")


def check_memory(what: str, wanted: int) -> None:
    """Refuse what takes more memory than is free.

    Raises
    ------
    ConvError
    """
    free = available_memory() if wanted > UNASKED else None
    if free is not None and wanted > free:
        raise ConvError(f"{what} would take {mega(wanted)} MB of memory, and {mega(free)} MB are free")


def mega(size: int) -> str:
    """Return bytes as millions of them, for messages."""
    return f"{size // 1_000_000:,}"
