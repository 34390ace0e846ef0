"""The verdicts as a document: counts by kind, every refusal with its reason, every difference with its cause."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.corpora.judge import MEGABYTES, SECONDS, TOLERANCE, Verdict

GOAL = 0.98

# (what tells it, the cause) of results that are not those of Pillow and scipy; the first that fits is meant.
CAUSES: tuple[tuple[str, str], ...] = (
    (r"8bit\.s\.tif|gray\.i1\.tif", "its samples are signed; Pillow reads them as unsigned"),
    (r"gray\.separate", "five planes of measurements: all are filtered; Pillow reads the first"),
    (
        r"separate_planar_extra",
        "two planes of signed samples: both are filtered; Pillow reads one, as unsigned",
    ),
    (r"\.xbm", "a set bit is ink, as X11 has it; Pillow shows it white"),
    (r"i_trns\.png", "its transparent value is honoured; Pillow knows none for 16-bit grey"),
    (
        r"tbbn1g04\.png",
        "transparent as in libpng; Pillow looks for the value among samples that it has scaled",
    ),
    (
        r"old-style-jpeg",
        "colour at half resolution is enlarged smoothly; libtiff, which Pillow uses, repeats it",
    ),
    (r"mode_16bit\.png", "FFmpeg knows no APNG of 16 bits, and Pillow keeps 8 of them before it blends"),
    (
        r"tiff_wrong_bits_per_sample_3",
        "a fourth sample that is not said to be alpha is left out, with a note",
    ),
    (r"rgba16\.tga", "its one bit of alpha is left out, with a note; Pillow takes it for its opposite"),
)


def cause(verdict: Verdict) -> str:
    """Return why a result differs from scipy's on Pillow's decode, or nothing if that is not known."""
    if max(verdict.difference or 0, verdict.moving or 0) <= TOLERANCE:
        return ""
    return next(
        (why for pattern, why in CAUSES if re.search(pattern, f"{verdict.corpus}/{verdict.name}")), ""
    )


def unexplained(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a line for each file that did what none may do, and one if the goal is missed."""
    lines = [f"{v.corpus}/{v.name}: {'; '.join(v.flaws)}" for v in verdicts if v.flaws]
    lines += [
        f"{v.corpus}/{v.name}: differs by {v.difference:.1f}, cause unknown"
        for v in verdicts
        if v.difference is not None and v.difference > TOLERANCE and not cause(v)
    ]
    lines += [
        f"{v.corpus}/{v.name}: its frames differ by {v.moving:.1f}, cause unknown"
        for v in verdicts
        if v.moving is not None and v.moving > TOLERANCE and not cause(v)
    ]
    opened = [v for v in verdicts if v.seen]
    share = sum(v.filtered for v in opened) / max(1, len(opened))
    return lines + ([f"only {share:.1%} of what Pillow opens is filtered"] if share < GOAL else [])


def document(verdicts: Sequence[Verdict]) -> str:
    """Return the whole of ``results.md``."""
    opened = [v for v in verdicts if v.seen]
    filtered = [v for v in opened if v.filtered]
    known = [v for v in opened if "unknown suffix" not in v.reason]
    compared = [v for v in filtered if v.difference is not None]
    equal = [v for v in compared if v.difference is not None and v.difference <= TOLERANCE]
    lines = [
        "# Files that nobody here made",
        "",
        "Written by `make test-corpora`: every file of the corpora through `convcli filter FILE -k box:3`, each in a",
        "process of its own (animations of three frames or more also through `convcli motion`). A file passes when the",
        "exit code is 0 and another reader opens the result with the expected size and depth, or when it is refused in",
        f"one line; no traceback, nothing over {SECONDS} s or {MEGABYTES} MB, no file left behind.",
        "",
        f"- {len(verdicts)} files, {sum(v.jobs for v in verdicts)} jobs; "
        f"{len(unexplained(verdicts))} failures; longest {max(v.seconds for v in verdicts):.1f} s, "
        f"most memory {max(v.megabytes for v in verdicts):.0f} MB.",
        f"- Pillow opens {len(opened)} (EPS, which it hands to another program, left out); "
        f"{len(filtered)} of these are filtered: **{len(filtered) / max(1, len(opened)):.1%}**, "
        f"and {len(filtered) / max(1, len(known)):.1%} of those in a format that convcli reads.",
        f"- {len(compared)} results were compared with scipy's box filter on Pillow's own decode: "
        f"{len(equal)} are equal "
        f"to within {TOLERANCE:g} of 255, {len(compared) - len(equal)} differ for the causes below.",
        "",
        "## By kind, as Pillow names it",
        "",
        "| corpus | kind | opened by Pillow | filtered | compared | equal |",
        "|---|---|--:|--:|--:|--:|",
    ]
    groups: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for verdict in opened:
        groups[verdict.corpus, verdict.seen.kind].append(verdict)  # type: ignore[union-attr]
    for (corpus, kind), group in sorted(
        groups.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1])
    ):
        done = [v for v in group if v.filtered]
        measured = [v for v in done if v.difference is not None]
        same = sum(v.difference <= TOLERANCE for v in measured if v.difference is not None)
        lines.append(f"| {corpus} | {kind} | {len(group)} | {len(done)} | {len(measured)} | {same} |")
    lines += ["", "## Opened by Pillow and refused", "", "| file | reason |", "|---|---|"]
    lines += [f"| {v.name} | {_cell(v.reason.partition('; known:')[0])} |" for v in opened if not v.filtered]
    lines += [
        "",
        "## Filtered, and other than scipy's",
        "",
        "| file | largest difference of 255 | cause |",
        "|---|--:|---|",
    ]
    lines += [
        f"| {v.name} | {v.difference:.1f} | {cause(v) or 'unknown'} |"
        for v in compared
        if v.difference is not None and v.difference > TOLERANCE
    ]
    lines += _of_frames(opened)
    others = [v for v in verdicts if not v.seen]
    lines += [
        "",
        "## What Pillow does not open",
        "",
        f"{len(others)} files: broken on purpose, or no pictures. {sum(v.filtered for v in others)} of them are "
        "filtered (read by tifffile or libpng, or tables); the others are refused:",
        "",
        "| files | reason |",
        "|--:|---|",
    ]
    reasons = Counter(_kind_of_reason(v.reason) for v in others if not v.filtered)
    lines += [f"| {count} | {_cell(reason)} |" for reason, count in reasons.most_common()]
    return "\n".join(lines) + "\n"


def _of_frames(opened: Sequence[Verdict]) -> list[str]:
    """Return what became of the frames of animations and of the pages of TIFFs."""
    compared = [v for v in opened if v.moving is not None]
    other = [v for v in compared if v.moving is not None and v.moving > TOLERANCE]
    lines = [
        "",
        "## All frames and pages",
        "",
        f"`--frames all` of what has several: {len(compared)} were compared frame by frame with another decoder",
        "(FFmpeg for GIF and PNG, or Pillow where that fails; libwebp's compositor for WebP, libtiff for TIFF) and",
        f"scipy's filter, colours weighted by alpha; {len(compared) - len(other)} are equal to within",
        f"{TOLERANCE:g} of 255.",
        "",
        "| file | difference, or why none was taken | cause |",
        "|---|---|---|",
    ]
    lines += [f"| {v.name} | {v.moving:.1f} | {cause(v) or 'unknown'} |" for v in other]
    return lines + [f"| {v.name} | {_cell(v.still)} | |" for v in opened if v.still]


def _kind_of_reason(reason: str) -> str:
    """Return a reason without what differs from file to file."""
    reason = re.sub(r"^'?[^' ]*'?:? ", "", reason, count=1)
    reason = re.sub(r"[bB]?'[^']*'|b\"[^\"]*\"", "…", reason)
    return re.sub(r"\d+", "N", reason).partition(" known:")[0][:90]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:160]
