"""Every sentence about a contrast: its verdict, interval, prospects and caveats, with one wording and one rounding.

Pure functions of typed rows, used by `analyze`, by the summary of `run`, by `confirm` and by the report. The sentences
of warnings and of confirmations have modules of their own. Text is ASCII but for the names that users give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sota_bench.stats import verdicts
from sota_bench.stats.result import (
    INTERACTION,
    LINEAR,
    MODERATED,
    PAIRED,
    POOLED,
    QUADRATIC,
    SEEDS_AND_IMAGES,
    Alias,
    ContrastRow,
    Overview,
)
from sota_bench.stats.wording import (
    PERCENTAGE_POINTS,
    decimals,
    join,
    level_name,
    number,
    round_up,
    short_number,
)
from sota_bench.units import counted

ERRORS = {
    POOLED: "the error pooled over all cells",
    PAIRED: "the contrast's own paired error",
    MODERATED: "the contrast's own error, moderated by the other cells",
}
HEADS = {
    verdicts.HELPS: "helps",
    verdicts.HURTS: "hurts",
    verdicts.CURVED: "curved",
    verdicts.NEGLIGIBLE: "real but negligible",
    verdicts.UNDETECTED: "no detectable effect",
    verdicts.NOT_ESTIMABLE: "not estimable",
    verdicts.CLEAR: "clear interaction",
    verdicts.UNCLEAR: "no clear interaction",
}


def comparison(row: ContrastRow) -> str:
    """What a row compares: ``mixup 0.2 vs 0.0``, ``mixup 0.2 vs 0.0 at resize 128x5``."""
    low, high = level_name(row.baseline), level_name(row.level)
    if row.kind == LINEAR:
        return f"{row.factor}, linear trend from {low} to {high}"
    if row.kind == QUADRATIC:
        return f"{row.factor}, curvature from {low} to {high}"
    text = f"{row.factor} {high} vs {low}"
    if row.kind == INTERACTION:
        return f"{text} x {row.factor_b} {level_name(row.level_b)} vs {level_name(row.baseline_b)}"
    return f"{text} at {row.at_factor} {level_name(row.at_level)}" if row.at_factor else text


def head(row: ContrastRow, overview: Overview) -> str:
    """The verdict in a few words: ``helps``, ``helps on average``, ``no effect larger than 1.0 pp``."""
    verdict = row.shown_verdict
    averaged = verdict in (verdicts.HELPS, verdicts.HURTS, verdicts.EQUIVALENT) and (row.demoted or row.diluted_by)
    larger = f"no effect larger than {amount(overview.delta, overview.unit)}"
    return (larger if verdict == verdicts.EQUIVALENT else HEADS[verdict]) + (" on average" if averaged else "")


def amount(value: float | None, unit: str) -> str:
    """A declared size with its unit: ``1.0 pp``."""
    return "delta" if value is None else f"{short_number(value)} {unit}".strip()


def effect(row: ContrastRow, overview: Overview) -> str:
    """The estimate with its interval: ``-2.7 pp, 95% CI -7.2 to 1.9``."""
    if row.estimate is None:
        return ""
    places = decimals(row, overview.unit)
    text = f"{number(row.estimate, places, sign=True)} {overview.unit}".strip()
    if row.low is None or row.high is None:
        return text
    level = f"{100 * (1 - overview.alpha):g}% CI"
    return f"{text}, {level} {number(row.low, places)} to {number(row.high, places)}"


def sentence(row: ContrastRow, overview: Overview, chance: bool = True) -> str:
    """A row's verdict as a text that stands alone, with its numbers, what more would decide, and its caveats.

    Args:
        row: the row.
        overview: what was analysed: unit, delta, alpha, block and images.
        chance: whether it says how probable it is that the level does better in one more run.
    """
    return f"{comparison(row)}: {head(row, overview)}{details(row, overview, chance)}"


def details(row: ContrastRow, overview: Overview, chance: bool = True) -> str:
    """What follows the head in a row's sentence: ``(+4.0 pp, 95% CI 3.6 to 4.4).`` with a space before it, and more."""
    if row.verdict == verdicts.NOT_ESTIMABLE:
        return f", because {row.reason}{f': {effect(row, overview)}' if row.withheld else ''}."
    text = f" ({effect(row, overview)})"
    if row.verdict == verdicts.NEGLIGIBLE and row.kind != INTERACTION:
        text += f", smaller than {amount(overview.delta, overview.unit)}"
    parts = (*((one_more_run,) if chance else ()), prospects, path_end, caveats)
    return " ".join([f"{text}.", *(sentence for part in parts for sentence in part(row, overview))])


def one_more_run(row: ContrastRow, overview: Overview) -> list[str]:
    """How probable it is that the level does better in one more run; empty where effects differ too much to say."""
    if row.p_better is None or row.p_better_low is None or row.p_better_high is None or row.demoted or row.diluted_by:
        return []
    chance, low, high = (_percent(value) for value in (row.p_better, row.p_better_low, row.p_better_high))
    text = f"In one more run, {level_name(row.level)} beats {level_name(row.baseline)} with a probability of {chance}"
    return [f"{text} ({100 * (1 - overview.alpha):g}% CI {low} to {high})." if low != high else f"{text}."]


def _percent(probability: float) -> str:
    """A probability as ``93%``; never 0% or 100%, which would be certain."""
    if not 0.005 <= probability < 0.995:
        return "under 1%" if probability < 0.5 else "over 99%"
    return f"{100 * probability:.0f}%"


def path_end(row: ContrastRow, overview: Overview) -> list[str]:
    """At which of the planned looks a row was decided; empty for a single analysis."""
    if row.look is None or row.seeds_used is None or not row.headline:
        return []
    where = f"look {row.look} of {len(overview.looks)}, with {counted(row.seeds_used, overview.block or 'run')}"
    return [f"Decided at {where}." if row.decided else f"Undecided at {where}."]


def direction(overview: Overview, noun: str) -> str:
    """How differences in a response are read: ``Differences in NLL, in nats: lower is better.``"""
    unit = {"pp": "percentage points (pp)", "min": "minutes"}.get(overview.unit, overview.unit)
    better = "" if overview.higher_is_better else "; lower is better"
    return f"Differences in {noun}" + (f", in {unit}" if unit else "") + better


def claimed(factors: Sequence[str], noun: str) -> str:
    """Why there are verdicts on a response that the grid does not ask about."""
    cards = "card of " + factors[0] if len(factors) == 1 else f"cards of {join(factors)}"
    verb = "claims" if len(factors) == 1 else "claim"
    return (
        f"Secondary: the {cards} {verb} an effect on {noun}, which the grid does not ask about. These verdicts are a "
        "family of their own and change no verdict above."
    )


def prospects(row: ContrastRow, overview: Overview) -> list[str]:
    """What the experiment could have detected, and what would detect delta; empty where the question is answered."""
    undecided = row.shown_verdict in (verdicts.UNDETECTED, verdicts.UNCLEAR)
    if not undecided or row.mde_family is None:
        return []
    unit, delta = overview.unit, overview.delta
    reach = f"{number(row.mde_family, decimals(row, unit))} {unit}".strip()
    text = f"{'This run' if row.look is None else 'This look'} could detect {reach}"
    if unit in PERCENTAGE_POINTS and row.mde_family > 100:  # accuracies cannot differ so much
        text = f"With so few {_repeats(overview)} no effect can be detected"
    if delta is None or row.n <= 1 or row.mde_family <= delta or row.look is not None:
        return [f"{text}."]
    target = amount(delta, unit)
    needed = images_needed(overview)
    if needed is not None and overview.images is not None:
        each = amount(float(f"{100 / overview.images:.2g}"), unit)
        return [
            f"{text}. One of the {overview.images:,} images counts {each}, so more {_repeats(overview)} alone cannot "
            f"detect {target}; evaluate on {needed:,} images or more."
        ]
    if row.images_needed_family is not None and overview.images is not None:
        more = _more_images(row, overview)
        return [f"{text}. The {overview.images:,} images are the limit: {more} would detect {target}."]
    if row.seeds_needed_family is None:
        return [f"{text}; more than 10,000 {_repeats(overview)} would be needed to detect {target}."]
    extra = row.seeds_needed_family - math.floor(row.n)
    if extra <= 0:
        return [f"{text}."]
    return [f"{text}; {_more(extra, overview.block)} would detect {target}."]


def images_needed(overview: Overview) -> int | None:
    """The images that make one of them count for half of delta at most; None where there are as many, or it is unknown.

    Accuracies on N images move in steps of 100 / N points, and a difference of less than two steps rests on single
    images, however many seeds repeat it.
    """
    if overview.images is None or overview.delta is None or overview.unit not in PERCENTAGE_POINTS:
        return None
    needed = math.ceil(round(200 / overview.delta, 6))
    return needed if overview.images < needed else None


def _more_images(row: ContrastRow, overview: Overview) -> str:
    """``about 800 more images``, ``about 800 more images and 4 more seeds``."""
    extra = (row.images_needed_family or 0) - (overview.images or 0)
    rounded = round_up(extra)
    more_seeds = math.ceil((row.seeds_beside_images or 0) - row.n)
    beside = f" and {_more(more_seeds, overview.block)}" if more_seeds > 0 else ""
    return f"about {rounded:,} more images{beside}"


def _more(extra: int, block: str | None) -> str:
    if block is None:
        return f"{extra:,} more run{'' if extra == 1 else 's'} per cell"
    return f"{extra:,} more {block}{'' if extra == 1 else 's'}"


def _repeats(overview: Overview) -> str:
    return f"{overview.block}s" if overview.block else "runs per cell"


def caveats(row: ContrastRow, overview: Overview) -> list[str]:
    """What limits a row's verdict, and how to read it instead, one sentence each."""
    sentences = []
    if row.p is not None and row.p_holm is not None and row.p < overview.alpha <= row.p_holm:
        sentences.append(
            f"The interval excludes 0, but the effect is not significant after Holm's correction for "
            f"{counted(row.family_size, 'comparison')}."
        )
    if row.part:
        sentences.append(f"Compared only where both levels were run ({row.part}).")
    flat = {level.partition(" = ")[0] for level in row.diluted_by}
    partners = [name for name in row.demoted_by if name not in flat and name != overview.sources]
    if overview.sources in row.demoted_by and overview.sources not in flat:
        sentences.append("It differs between data sets: read the effect on each of them.")
    if partners:
        sentences.append(f"It interacts with {join(partners)}: read the effect at each level of {join(partners)}.")
    if row.diluted_by:
        sentences.append(
            f"This average includes {join(row.diluted_by)}, where nothing varies; read the effect at the other levels."
        )
    if row.aliases and not row.withheld:
        sentences.append(f"Aliased with {alias_list(row.aliases)}.")
    if row.after_look:
        sentences.append("Seeds were added after looking at the results.")
    return sentences


def alias_list(aliases: Sequence[Alias], everything: bool = False) -> str:
    """Other effects that an estimate carries: ``mixup x flip x lr and 3 other interactions of three factors``.

    Args:
        aliases: the effects, those of the fewest factors first.
        everything: whether all are named; otherwise the few that matter most, and how many others there are.
    """
    if everything:
        return join([_in_part(alias) for alias in aliases])
    near = [alias for alias in aliases if len(alias.factors) < 3]
    far = [alias for alias in aliases if len(alias.factors) == 3]
    shown = [alias for alias in near if alias.strong][:3]
    if not near:
        shown = [alias for alias in far if alias.strong][:2]
    shown = shown or list(aliases[:1])
    words = [_in_part(alias) for alias in shown]
    for group, noun, factors in ((near, "effect", "up to two factors"), (far, "interaction", "three factors")):
        if more := sum(alias not in shown for alias in group):
            words.append(f"{counted(more, f'other {noun}')} of {factors}")
    return join(words)


def _in_part(alias: Alias) -> str:
    return alias.name if alias.share > 0.999 else f"{alias.name} ({100 * alias.share:.0f}%)"


def aliased(aliases: Sequence[Alias], in_part: bool) -> str:
    """Why an effect of a fractional design gets no verdict: a clause that follows "because"."""
    names = alias_list(aliases)
    if in_part:
        return f"it is partly aliased with {names}, which {'is' if len(aliases) == 1 else 'are'} or may be clear"
    return f"it is aliased with {names}, and the fractional design cannot tell them apart"


def aliased_interactions(row: ContrastRow, aliases: Sequence[Alias]) -> str:
    """Some of several aliased interactions exist."""
    names = join([f"{row.factor} x {row.factor_b}", *(alias.name for alias in aliases)])
    return (
        f"{names} are aliased, and at least one of them is clear; run the full factorial of these factors to tell "
        "which (in a grid: refine = true)."
    )


def unbalanced_fraction() -> str:
    """Cells that are missing from a fraction."""
    return (
        "Cells of the fractional design have no result, so it is not balanced: effects are estimated by least squares, "
        "and some are aliased in part with interactions of two factors. Each verdict names them."
    )


def stopping(
    why: str, *, decided: int, questions: int, looks: int, seeds: int, trainings: int, fixed: int | None,
    smallest_effects: Sequence[str],
) -> list[str]:  # fmt: skip
    """How such a run ended, and what it took beside a design without looks, one sentence each.

    Args:
        why: ``decided``, ``maximum``, ``budget``, ``images``, or "" where it was interrupted.
        decided, questions: how many questions are decided, and how many there are.
        looks, seeds: looks that were taken, and the seeds of the last one.
        trainings, fixed: trainings that it took, and that a design with equally many seeds in all cells takes to find
            the smallest effects as often; None where that is not known.
        smallest_effects: of interest, each with its unit.
    """
    which = f"All {questions}" if decided == questions > 1 else f"{decided} of {questions}"
    verb = "is" if questions == 1 else "are"
    text = f"{which} {'question' if questions == 1 else 'questions'} {verb} decided after {counted(looks, 'look')} and "
    text += f"{counted(trainings, 'training')}."
    sentences = [text]
    reasons = {
        "maximum": f"The last look, with {counted(seeds, 'seed')}, is done, so no more seeds are added.",
        "budget": "The next look does not fit the budget; to continue, run the same command with a larger --budget.",
        "images": "More seeds would hardly narrow the open intervals: the images are the limit. Evaluate on more.",
    }
    if decided < questions and why in reasons:
        sentences.append(reasons[why])
    if decided < questions and not smallest_effects:
        sentences.append("Set grid.smallest_effect: without it, a comparison without an effect is never decided.")
    if fixed is not None:
        sentences.append(
            f"With the same number of seeds in every cell and one analysis, {counted(fixed, 'training')} would find "
            f"{'an effect' if len(smallest_effects) == 1 else 'effects'} of {join(smallest_effects)} as often."
        )
    return sentences


def covered(overview: Overview) -> str:
    """What the intervals of an analysis cover, for a caption."""
    if overview.scope == SEEDS_AND_IMAGES:
        return f"other {_repeats(overview)} and other images like these"
    return f"other {_repeats(overview)} on these images" if overview.images else f"other {_repeats(overview)}"
