"""Every sentence about contrasts: verdicts, caveats, warnings and confirmations, with one wording and one rounding.

Pure functions of typed rows, used by `analyze`, by the summary of `run`, by `confirm` and by the report. Text is ASCII
but for the names that users give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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

PERCENTAGE_POINTS = ("pp", "points")
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


# Numbers, names and plurals


def decimals(row: ContrastRow, unit: str) -> int:
    """Decimals that a row's estimate and interval are shown with.

    Percentage points have one, and two where the interval is narrower than half a point; other units have two
    significant digits of the standard error. A limit close to 0 gets as many as show its side, up to three more.
    """
    if row.low is None or row.high is None or not row.se:
        return 1 if unit in PERCENTAGE_POINTS else 4
    if unit in PERCENTAGE_POINTS:
        places = 2 if row.high - row.low < 0.5 else 1
    else:
        places = min(max(1 - math.floor(math.log10(row.se)), 0), 8)
    nearest = min(abs(row.low), abs(row.high))
    return next((more for more in range(places, places + 3) if round(nearest, more)), places + 2 if nearest else places)


def number(value: float, places: int, sign: bool = False) -> str:
    """A number with fixed decimals, without "-0.0", with a plus sign on request."""
    text = f"{value:,.{places}f}"
    if float(text.replace(",", "")) == 0:
        return text.lstrip("-")
    return f"+{text}" if sign and value > 0 else text


def short_number(value: float) -> str:
    """A number that a user declared: at least one decimal, no digits that were not given."""
    text = f"{value:.6g}"
    return text if "." in text or "e" in text else f"{text}.0"


def plural(count: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``, ``1,200 seeds``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def join(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def level_name(level: object) -> str:
    """A level as people say it: ``true`` is on, ``false`` is off."""
    return {"true": "on", "false": "off"}.get(str(level).lower(), str(level))


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


# Verdicts


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


def sentence(row: ContrastRow, overview: Overview) -> str:
    """A row's verdict as a text that stands alone, with its numbers, what more would decide, and its caveats.

    Args:
        row: the row.
        overview: what was analysed: unit, delta, alpha, block and images.
    """
    return f"{comparison(row)}: {head(row, overview)}{details(row, overview)}"


def details(row: ContrastRow, overview: Overview) -> str:
    """What follows the head in a row's sentence: ``(+4.0 pp, 95% CI 3.6 to 4.4).`` with a space before it, and more."""
    if row.verdict == verdicts.NOT_ESTIMABLE:
        return f", because {row.reason}{f': {effect(row, overview)}' if row.withheld else ''}."
    text = f" ({effect(row, overview)})"
    if row.verdict == verdicts.NEGLIGIBLE and row.kind != INTERACTION:
        text += f", smaller than {amount(overview.delta, overview.unit)}"
    parts = (one_more_run, prospects, path_end, caveats)
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
    where = f"look {row.look} of {len(overview.looks)}, with {plural(row.seeds_used, overview.block or 'run')}"
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
    """``about 800 more``, ``about 800 more and 4 more seeds``."""
    extra = (row.images_needed_family or 0) - (overview.images or 0)
    rounded = round_up(extra)
    more_seeds = math.ceil((row.seeds_beside_images or 0) - row.n)
    beside = f" and {_more(more_seeds, overview.block)}" if more_seeds > 0 else ""
    return f"about {rounded:,} more{beside}"


def round_up(count: int) -> int:
    """A number of images with two digits that are not 0, rounded up: a forecast is no better."""
    step = int(10 ** max(len(str(count)) - 2, 0))
    return -(-count // step) * step


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
            f"{plural(row.family_size, 'comparison')}."
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


# Fractional designs


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
            words.append(f"{plural(more, f'other {noun}')} of {factors}")
    return join(words)


def _in_part(alias: Alias) -> str:
    return alias.name if alias.share > 0.999 else f"{alias.name} ({100 * alias.share:.0f}%)"


def aliased(aliases: Sequence[Alias], in_part: bool) -> str:
    """Why an effect of a fractional design gets no verdict: a clause that follows "because"."""
    names = alias_list(aliases)
    if in_part:
        return f"it is aliased in part with {names}, which {'is' if len(aliases) == 1 else 'are'} clear or may be"
    return f"it is aliased with {names}, and the fraction measures only what they come to together"


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
# Runs that go on until they are decided


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
    text = f"{which} {'question' if questions == 1 else 'questions'} {verb} decided after {plural(looks, 'look')} and "
    text += f"{plural(trainings, 'training')}."
    sentences = [text]
    reasons = {
        "maximum": f"The last look, with {plural(seeds, 'seed')}, is done, so no more seeds are added.",
        "budget": "The next look does not fit the budget; the same command with a larger one goes on.",
        "images": "More seeds would hardly narrow what is open: the images are the limit. Evaluate on more of them.",
    }
    if decided < questions and why in reasons:
        sentences.append(reasons[why])
    if decided < questions and not smallest_effects:
        sentences.append("Without grid.smallest_effect, a level without an effect is never decided.")
    if fixed is not None:
        sentences.append(
            f"With the same number of seeds in every cell and one analysis, {plural(fixed, 'training')} would find "
            f"{'an effect' if len(smallest_effects) == 1 else 'effects'} of {join(smallest_effects)} as often."
        )
    return sentences


# Warnings about the whole analysis


def flat_levels(factor: str, levels: Sequence[str], block: str | None) -> str:
    """Levels at which neither repetitions nor other factors change anything."""
    return (
        f"With {factor} = {', '.join(levels)} nothing varies, neither between {block or 'run'}s nor with any other "
        "factor, as at chance or at a ceiling. Averages over these levels understate the other factors; read those at "
        f"the other levels of {factor}."
    )


def interaction_warning(row: ContrastRow, sources: str | None) -> str:
    """A clear interaction changes how main effects are read.

    Args:
        row: the interaction.
        sources: the factor whose levels are data sets, if there is one.
    """
    if row.factor_b == sources:
        return (
            f"The effect of {row.factor} {level_name(row.level)} differs between {row.baseline_b} and {row.level_b}, "
            "so its average is one of different effects; read it on each data set."
        )
    return (
        f"{row.factor} {level_name(row.level)} and {row.factor_b} {level_name(row.level_b)} interact, so their main "
        f"effects average over different effects; read the effect of {row.factor} at each level of {row.factor_b}."
    )


def untested_interactions(pairs: Sequence[tuple[str, str]]) -> str:
    """Pairs of factors whose interaction needs combinations that were not run."""
    named = ", ".join(f"{a} x {b}" for a, b in pairs)
    return f"Interactions could not be tested: {named}. Run all combinations of these factors to test them."


def errors_disagree(rows: Mapping[str, ContrastRow]) -> str:
    """A note for the details: what each error says of one contrast.

    Args:
        rows: the contrast's rows by error, the headline among them.
    """
    read = next(row for row in rows.values() if row.headline)
    each = "; ".join(f"{row.shown_verdict} with {ERRORS[error]} (df {row.df:.3g})" for error, row in rows.items())
    return f"{comparison(read)}: the errors disagree: {each}. The verdict uses {ERRORS[read.error]}."


def screening_only(block: str | None, screened: bool, part: str) -> str:
    """One seed gives no verdict."""
    lacking = f"one {block}" if block else "one run per cell"
    more = f"{block}s" if block else "runs per cell"
    text = f"There is only {lacking}, so no verdict is possible; add at least two more {more} to get one."
    if not screened:
        return text
    kept = f", where the table is complete ({part})" if part else ""
    return f"{text} Effects are screened by Lenth's method{kept}: treat them as hints, not as findings."


# Warnings about the table


@dataclass(frozen=True)
class Lost:
    """The trials of one level that gave no result: how many have each status."""

    factor: str
    level: str
    statuses: Mapping[str, int]


def every_trial_lost(lost: Lost) -> str:
    """Why a level cannot be compared: a clause that follows "because"."""
    total = sum(lost.statuses.values())
    each = join([f"{count:,} {status.replace('_', ' ')}" for status, count in lost.statuses.items()])
    which = (
        f"the only trial of {lost.factor} {level_name(lost.level)}"
        if total == 1
        else (f"all {total:,} trials of {lost.factor} {level_name(lost.level)}")
    )
    return f"{which} ended without a result ({each})"


def looks_like_fractions(response: str, span: str) -> str:
    """Accuracies are shown in percentage points."""
    return f"{response}: {span}, like fractions, and accuracies are in percent: multiply the column by 100."


def rows_without_result(status: str, count: int) -> str:
    """Rows that are missing from every estimate."""
    if status == "not_applicable":
        return f"{plural(count, 'row')} not applicable: combinations that cannot exist; they are not compared."
    if status == "not_asked":
        return f"{plural(count, 'row')} not asked for (--only left them out): missing from every estimate."
    return f"{plural(count, 'row')} with status {status}: missing from every estimate."


def no_values(noun: str) -> str:
    """A response that no finished trial has."""
    return f"No finished trial has a value of {noun}, so nothing is compared by it; choose another grid.response."


def unknown_status(names: Sequence[str], valid: Sequence[str]) -> str:
    """Values of the column status that no command writes."""
    return (
        f"Unknown status {join([repr(name) for name in names])}: these rows are left out. Known values are "
        f"{', '.join(valid)}; only done rows are analysed."
    )


def rows_left_out(count: int, response: str | None) -> str:
    """Rows without a value of a factor, or of the response."""
    if response is None:
        return f"{plural(count, 'row')} left out, because a factor is empty there and does not apply."
    return f"{plural(count, 'row')} without a value of {response}: left out."


def missing_results(missing: int, expected: int, block: str, lost: Sequence[str]) -> str:
    """An unbalanced table with blocks."""
    shown = ", ".join(lost[:8]) + (", ..." if len(lost) > 8 else "")
    return (
        f"Unbalanced: {missing:,} of {expected:,} results are missing ({block} {shown}). Estimates come from least "
        "squares, which allows for the missing ones."
    )


def unequal_runs(fewest: int, most: int) -> str:
    """An unbalanced table without blocks."""
    return f"Unbalanced: cells hold {fewest} to {most} runs; the mean of each cell counts alike."


def missing_combinations(results: int, possible: int) -> str:
    """A grid that is not full."""
    return (
        f"Only {results:,} of {possible:,} combinations of levels have a result. Levels are compared where all other "
        "factors are equal; averages leave the other combinations out."
    )


def empty_combinations(first: str, more: int) -> str:
    """Combinations that were asked for and gave no result at all."""
    extra = f" and {plural(more, 'other combination')}" if more else ""
    return f"No result at all for {first}{extra}: averages leave them out. Run the failed trials again to include them."


def averaged_rows(combinations: int, block: str) -> str:
    """Several different results of one combination."""
    return (
        f"{plural(combinations, 'combination')} of factors and {block} hold several rows, which were averaged. If a "
        "column tells them apart, name it with --factors or --within."
    )


def added_after_look(block: str, seeds: Sequence[str], error: float | None) -> str:
    """Seeds that were added once results had been seen.

    Args:
        block: their column.
        seeds: the added ones.
        error: how often a comparison without an effect is significant at 5% before or after; None where that is not
            known.
    """
    much = "" if error is None else (
        f": looked at twice, a comparison without an effect is significant in about {100 * error:.0f}% of such runs, "
        "not in 5%"
    )  # fmt: skip
    return (
        f"{block} {', '.join(seeds)} added after looking at the results, which makes false findings likelier than the "
        f"p-values say{much}. Confirm with fresh seeds; next time, run --until-decided plans its looks."
    )


def different_images(sets: int, column: str) -> str:
    """Trials that are judged on different images."""
    return (
        f"Trials are judged on {sets} different sets of images ({column}). Accuracies on different images cannot be "
        "compared, so levels that differ in them are not; the analysis of variance ignores this."
    )


def over_sources(names: Sequence[str]) -> str:
    """What an average over data sets is about."""
    return (
        f"Each effect is averaged over {join(names)} within each seed, each data set counting alike, and is about "
        "these data sets: it says nothing of others. Accuracies on different data sets are not compared."
    )


def shared_training(block: str, column: str, cells: int, groups: int) -> str:
    """Trainings that share a stage are a split-plot experiment."""
    return (
        f"Trainings of one {block} share a stage ({column}: {cells} cells in {groups} groups), so they are not "
        "independent. Levels of different groups are compared by group means, levels inside a group by their own "
        "differences. The analysis of variance ignores this, so its p-values for such factors are too small."
    )


def word_blocks(block: str, words: Sequence[str], all_words: bool) -> str:
    """Block labels that are words where numbers are usual."""
    shown = join([repr(word) for word in words[:5]]) + (", ..." if len(words) > 5 else "")
    if all_words:
        return f"The column {block} holds words ({shown}); each is taken as one {block}."
    return f"The column {block} holds words beside numbers ({shown}); if they are not {block}s, remove these rows."


def unpaired_blocks(block: str, values: Sequence[str], factor: str, level: str) -> str:
    """Blocks that one level lacks: they say nothing about its effect."""
    shown = ", ".join(values[:8]) + (", ..." if len(values) > 8 else "")
    return (
        f"{factor} {level_name(level)} has no result for {block} {shown}, so its comparisons rest on the other "
        f"{block}s; run them to use all."
    )


def anova_left_out(cells: int) -> str:
    """An unbalanced table that is too large for an analysis of variance."""
    return (
        f"The table is unbalanced and has {cells:,} cells, too many for an analysis of variance; the contrasts do not "
        "need one."
    )


def predictions_missing(trials: Sequence[str]) -> str:
    """Trials whose predictions are gone: the images are counted from those of the others."""
    shown = join([*trials[:5]]) + (", ..." if len(trials) > 5 else "")
    return (
        f"No predictions for {plural(len(trials), 'trial')} ({shown}): what other images would change is estimated "
        "from the others."
    )


def images_by_seed(block: str | None) -> str:
    """A note for the details: the spread over seeds holds that over images, as far as seeds do not share them."""
    each = block or "run"
    return (
        f"Each {each} is judged on images of its own, so the spread over {each}s holds that of images. Where they are "
        f"drawn from one pool, {each}s share some of them, and intervals are too narrow for images outside the pool."
    )


def covered(overview: Overview) -> str:
    """What the intervals of an analysis cover, for a caption."""
    if overview.scope == SEEDS_AND_IMAGES:
        return f"other {_repeats(overview)} and other images like these"
    return f"other {_repeats(overview)} on these images" if overview.images else f"other {_repeats(overview)}"


# Confirmation


def confirmation(
    chosen: ContrastRow,
    confirmed: ContrastRow,
    overview: Overview,
    *,
    winner: str,
    changes: str,
    baseline: str,
    candidates: int,
    earlier_looks: int,
    noun: str = "accuracy",
    further: Sequence[tuple[str, ContrastRow, Overview]] = (),
) -> list[str]:
    """The outcome of a confirmation, one sentence each.

    Args:
        chosen: winner against baseline on the images that chose, with the pair's own paired error.
        confirmed: the same with fresh seeds on the images that confirm.
        overview: of the confirmation's analysis: unit, alpha and block.
        winner, baseline: names of the cells.
        changes: what the winner changes: "mixup 0.2, resize 64x3 128x2".
        candidates: number of cells that the winner was picked from.
        earlier_looks: how often the confirming images have judged other choices of this grid.
        noun: the response.
        further: the other responses of the grid: noun, row of the confirmation, and what was analysed.
    """
    of = "" if noun == "accuracy" else f" in {noun}"
    sentences = [
        f"{winner} ({changes}) vs the baseline {baseline}{of}.",
        f"Select images: {_measured(chosen, overview)}. It was selected among {plural(candidates, 'cell')} on these "
        "images, so this estimate is optimistic.",
        f"Test images, fresh seeds: {head(confirmed, overview)} ({_measured(confirmed, overview)}).",
        survival(chosen, confirmed, overview),
        *(
            f"{name[0].upper()}{name[1:]} on the test images: {head(row, about)} ({_measured(row, about)})."
            for name, row, about in further
        ),
        f"Both intervals cover {covered(overview)}. They use only the differences between these two cells; the "
        "verdicts of run also use the noise of the other cells, so their intervals can differ.",
    ]
    if earlier_looks:
        sentences.append(
            f"The test images have already judged {plural(earlier_looks, 'other choice')} of this grid, so they are no "
            "longer fresh; use another test split for a final answer."
        )
    return sentences


def survived_share(chosen: ContrastRow, confirmed: ContrastRow, overview: Overview) -> float | None:
    """The share of the gain that was found again; None unless both gains are clear of 0."""
    clear = all((_least_gain(row, overview) or 0.0) > 0 for row in (chosen, confirmed))
    return confirmed.estimate / chosen.estimate if clear and chosen.estimate and confirmed.estimate else None


def _least_gain(row: ContrastRow, overview: Overview) -> float | None:
    """The end of an interval that promises least, positive where it is a gain."""
    if overview.higher_is_better:
        return row.low
    return None if row.high is None else -row.high


def _most_gain(row: ContrastRow, overview: Overview) -> float | None:
    if overview.higher_is_better:
        return row.high
    return None if row.low is None else -row.low


def survival(chosen: ContrastRow, confirmed: ContrastRow, overview: Overview) -> str:
    """Whether the gain was found again."""
    share, most = survived_share(chosen, confirmed, overview), _most_gain(confirmed, overview)
    if share is not None:
        return f"About {100 * share:.0f}% of the gain was reproduced."
    if most is not None and most <= 0:
        return "The gain was not reproduced."
    return "It is still open whether the gain is real; add fresh seeds with --fresh-seeds."


def _measured(row: ContrastRow, overview: Overview) -> str:
    if row.estimate is None:
        return f"not estimable, because {row.reason}"
    return f"{effect(row, overview)}, {plural(int(row.n), overview.block or 'run')}"
