"""How to look for motion, as a person says it: what counts."""

from convcli.common import UsageError, frozen, in_range, parse_float
from convcli.common.options import Panel, flag, option


@frozen
class Area:
    """A number of pixels, or a share of the picture."""

    value: float
    percent: bool = False

    def pixels(self, picture: int) -> float:
        """Return the number of pixels in a picture of so many.

        >>> Area(0.5, percent=True).pixels(1000)
        5.0
        """
        return self.value / 100 * picture if self.percent else self.value


def parse_area(text: str) -> Area:
    """Read pixels (``40``) or a share of the picture (``0.1%``)."""
    number = parse_float(text.removesuffix("%"), "min area")
    if number < 0:
        raise UsageError(f"min area {text!r}: give pixels (40), or a share of the picture (0.1%)")
    return Area(number, text.endswith("%"))


def _threshold(text: str) -> float | None:
    return None if text == "auto" else in_range(parse_float(text, "--threshold"), "--threshold", 0)


@frozen(kw_only=True)
class Watching:
    """How to look for motion.

    Attributes
    ----------
    threshold
        ``None`` is from the clip's noise.
    min_area
        Of a connected region.
    stabilise_light
        Take out what the light of the whole scene changes; with ``threshold`` ``None`` always.
    """

    panel = Panel.MOTION

    threshold: float | None = option(
        "auto (from the clip's noise), or grey levels of 255.", shown="auto", read=_threshold
    )
    min_area: Area = option(
        "Smallest motion: pixels, or a share such as 0.1%.", shown="0.02%", read=parse_area
    )
    min_duration: float = option("Shortest event, in seconds.", default=0.1, least=0)
    merge_gap: float = option("Stillness that does not end an event, in seconds.", default=0.25, least=0)
    denoise: int = option("Against sensor noise: first average this number of frames.", default=1, least=1)
    stabilise_light: bool = flag("Against flicker: take out changes of light. Part of auto.")
