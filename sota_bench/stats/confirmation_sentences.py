"""The sentences of a confirmation: how the winner was chosen, and whether fresh runs found its gain again."""

from __future__ import annotations

from collections.abc import Sequence

from sota_bench.stats.result import (
    ContrastRow,
    Overview,
)
from sota_bench.stats.sentences import covered, effect, head
from sota_bench.stats.verdicts import EQUIVALENT
from sota_bench.units import counted


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
        f"Select images: {_measured(chosen, overview)}. It was selected among {counted(candidates, 'cell')} on these "
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
            f"The test images have already judged {counted(earlier_looks, 'other choice')} of this grid, so they are "
            "no longer fresh; use another test split for a final answer."
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
    if confirmed.verdict == EQUIVALENT:
        return "If there is a gain, it is smaller than grid.smallest_effect."
    return "It is still open whether the gain is real; add fresh seeds with --fresh-seeds."


def _measured(row: ContrastRow, overview: Overview) -> str:
    if row.estimate is None:
        return f"not estimable, because {row.reason}"
    return f"{effect(row, overview)}, {counted(int(row.n), overview.block or 'run')}"
