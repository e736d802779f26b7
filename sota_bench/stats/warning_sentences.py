"""Every warning about a table of trials and what its analysis leaves out. Pure functions of what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sota_bench.stats.result import ContrastRow
from sota_bench.stats.sentences import ERRORS, comparison
from sota_bench.stats.wording import join, level_name
from sota_bench.units import counted


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
        return f"{counted(count, 'row')} not applicable: combinations that cannot exist; they are not compared."
    if status == "not_asked":
        return f"{counted(count, 'row')} not asked for (--only left them out): missing from every estimate."
    return f"{counted(count, 'row')} with status {status}: missing from every estimate."


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
        return f"{counted(count, 'row')} left out, because a factor is empty there and does not apply."
    return f"{counted(count, 'row')} without a value of {response}: left out."


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
    extra = f" and {counted(more, 'other combination')}" if more else ""
    return f"No result at all for {first}{extra}: averages leave them out. Run the failed trials again to include them."


def averaged_rows(combinations: int, block: str) -> str:
    """Several different results of one combination."""
    return (
        f"{counted(combinations, 'combination')} of factors and {block} hold several rows, which were averaged. If a "
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
        "these data sets: it says nothing about others. Accuracies on different data sets are not compared."
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
        f"No predictions for {counted(len(trials), 'trial')} ({shown}): what other images would change is estimated "
        "from the others."
    )


def images_by_seed(block: str | None) -> str:
    """A note for the details: the spread over seeds holds that over images, as far as seeds do not share them."""
    each = block or "run"
    return (
        f"Each {each} is judged on images of its own, so the spread over {each}s holds that of images. Where they are "
        f"drawn from one pool, {each}s share some of them, and intervals are too narrow for images outside the pool."
    )
