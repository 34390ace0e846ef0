"""What missing samples do: the options of ``filter``, ``explain`` and ``matrix``.  No arrays, no files."""

from convcli.common import Missing, UsageError, frozen, parse_choice, parse_share
from convcli.common.options import Panel, flag, option

SLACK = 1e-6  # of the weights, by which rounding may miss the share that is asked for


@frozen
class Rule:
    """What missing samples do.

    Attributes
    ----------
    missing : Missing or None
        Without one, that of `convcli.jobs.job.draft`.
    least : float
        Share of the weights that must be present for a result, with ``skip`` and ``keep``.
    """

    missing: Missing | None
    least: float = 0.0


def parse_rule(text: str) -> Rule:
    """Read a policy, with the share of the weights that must be present.

    >>> parse_rule("skip:1/2")
    Rule(missing=<Missing.SKIP: 'skip'>, least=0.5)
    """
    word, colon, share = text.partition(":")
    missing = parse_choice(Missing, word, "missing")
    least = parse_share(share) if colon else 0.0
    if colon and not missing.skips:
        raise UsageError(f"missing {text}: a share of the weights goes with skip and keep")
    return Rule(missing, least)


@frozen
class Gaps:
    """What a person said about missing samples; without a policy, that of `convcli.jobs.job.draft`."""

    panel = Panel.VALUES

    rule: Rule | None = option(
        "Missing samples: propagate, skip, keep or error; skip:0.5 and keep:0.5 ask for half of the weights. Default: "
        "propagate; keep in maps with a nodata value and with --mask, skip with --interpolate.",
        "--missing",
        read=parse_rule,
        complete=tuple(Missing),
    )
    mask: str | None = option(
        "Picture, table or array that is 0 where samples are missing: one for all frames, or one each.",
        metavar="FILE",
    )
    interpolate: bool = flag("Fill missing samples first, by a normalised Gaussian (sigma 1).")

    @property
    def missing(self) -> Missing | None:
        return None if self.rule is None else self.rule.missing

    @property
    def min_weight(self) -> float:
        return 0.0 if self.rule is None else self.rule.least
