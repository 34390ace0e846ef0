"""What missing samples do: the options of ``filter``, ``explain`` and ``matrix``.  No arrays, no files."""

from convcli.common import Missing, UsageError, frozen, parse_float
from convcli.common.options import Panel, flag, option

SLACK = 1e-6  # of the weights, by which rounding may miss the share that is asked for


def parse_share(text: str) -> float:
    """Read a share of the weights.

    >>> parse_share("1/2")
    0.5
    """
    share = parse_float(text, "min weight")
    if not 0 <= share <= 1:
        raise UsageError(
            f"min weight {share:g} is not possible: give 0 to 1, a share of the kernel's weights"
        )
    return share


@frozen
class Gaps:
    """What a person said about missing samples; without a policy, that of `convcli.jobs.job.draft`."""

    panel = Panel.VALUES

    missing: Missing | None = option(
        "Missing samples: propagate, skip, keep or error. Default: propagate; keep in maps with a nodata value and "
        "with --mask, skip with --interpolate."
    )
    mask: str | None = option(
        "Picture, table or array that is 0 where samples are missing: one for all frames, or one each.",
        metavar="FILE",
    )
    min_weight: float = option(
        "Share of the weights that must be present for a result, with skip and keep: 0 to 1. Default: any.",
        default=0.0,
        metavar="SHARE",
        read=parse_share,
    )
    interpolate: bool = flag("Fill missing samples first, by a normalised Gaussian (sigma 1).")
