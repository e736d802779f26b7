"""The statistics of the gate: from the times of blocks to a verdict, as pure functions.

A block is four fresh processes in the order ABBA or BAAB (A the base, B the head), so that a drift that is linear in
time falls on both revisions alike. Its estimate is half the log ratio

    d = 1/2 log(b1 b2 / (a1 a2)),

and blocks are the independent observations: a round of n blocks has the mean of d and its t interval with n - 1
degrees of freedom. A workload is called slower only if two rounds, each with its own processes, both have a mean above
the threshold and a one-sided lower bound above zero.

Multiplicity: where nothing changed, one round calls a workload slower with probability at most alpha and both with at
most alpha^2, so over m workloads the gate fails with probability at most m alpha^2. With alpha = 0.05 that is under 5%
up to m = 20; for more, alpha is lowered to sqrt(0.05 / m), which keeps the bound (Bonferroni over workloads).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ORDERS = ("ABBA", "BAAB")
"""The orders of the processes of a block; blocks take turns."""

FAMILY, ALPHA = 0.05, 0.05
"""The largest probability that the whole gate fails where nothing changed, and that one round calls a workload
slower."""

POWER = 0.8
"""The probability with which both rounds together find the smallest detectable slow-down."""

Kind = Literal["slower", "pass", "inconclusive"]


def order_of(block: int) -> str:
    """The order of block 0, 1, 2 ...: ABBA and BAAB in turn."""
    return ORDERS[block % 2]


def alpha_of(workloads: int) -> float:
    """One-sided level of each of the two rounds, for a number of workloads."""
    return min(ALPHA, math.sqrt(FAMILY / max(1, workloads)))


def half_log_ratio(order: str, seconds: Sequence[float]) -> float:
    """The estimate of one block: above zero where B, the head, is slower.

    Args:
        order: ``ABBA`` or ``BAAB``.
        seconds: of each process, in that order.

    Raises:
        ValueError: there are not two processes of each kind, or a time is not above zero.
    """
    if sorted(order) != ["A", "A", "B", "B"] or len(seconds) != 4:
        raise ValueError(f"a block is two processes of each revision, not {order!r} with {len(seconds)} times")
    if not all(math.isfinite(second) and second > 0 for second in seconds):
        raise ValueError(f"times are above zero, not {list(seconds)}")
    signs = [1 if side == "B" else -1 for side in order]
    return 0.5 * sum(sign * math.log(second) for sign, second in zip(signs, seconds, strict=True))


@dataclass(frozen=True)
class Round:
    """The blocks of one workload in one round.

    Attributes:
        estimates: half log ratio of each block.
    """

    estimates: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Log of the ratio head to base; NaN without blocks."""
        return sum(self.estimates) / len(self.estimates) if self.estimates else math.nan

    @property
    def df(self) -> int:
        """Degrees of freedom: blocks less one."""
        return len(self.estimates) - 1

    @property
    def se(self) -> float:
        """Standard error of the mean; infinite with fewer than two blocks."""
        if self.df < 1:
            return math.inf
        mean = self.mean
        return math.sqrt(sum((estimate - mean) ** 2 for estimate in self.estimates) / self.df / len(self.estimates))

    def bound(self, alpha: float, upper: bool = False) -> float:
        """One-sided confidence bound of the log ratio at level ``1 - alpha``."""
        if self.df < 1:
            return math.inf if upper else -math.inf
        margin = _t(1 - alpha, self.df) * self.se
        return self.mean + margin if upper else self.mean - margin

    def passes_as_slower(self, threshold: float, alpha: float) -> bool:
        """Whether this round calls it slower: mean above ``log(1 + threshold)`` and lower bound above zero."""
        return self.mean > math.log1p(threshold) and self.bound(alpha) > 0

    def detectable(self, threshold: float, alpha: float) -> float:
        """The smallest slow-down (0.05 is 5%) that two rounds with this noise find with probability :data:`POWER`."""
        if self.df < 1:
            return math.inf
        margin = _t(math.sqrt(POWER), self.df) * self.se
        return math.expm1(max(_t(1 - alpha, self.df) * self.se, math.log1p(threshold)) + margin)


@dataclass(frozen=True)
class TimeVerdict:
    """The verdict of the gate on one workload's time.

    Attributes:
        kind: ``slower`` fails the gate; ``pass``: a slow-down of the threshold is excluded; ``inconclusive``: neither.
        change: head against base as a share (0.1 is 10% slower); NaN if nothing was measured.
        low, high: two-sided 90% interval of the change, whose ends are the one-sided 95% bounds.
        detectable: the smallest slow-down that would have been found with probability :data:`POWER`.
        blocks: how many each round has.
        note: a few words, or "".
    """

    kind: Kind
    change: float
    low: float
    high: float
    detectable: float
    blocks: tuple[int, ...]
    note: str = ""


def judge(first: Round, second: Round | None, threshold: float, alpha: float) -> TimeVerdict:
    """The verdict on one workload.

    Args:
        first: the round in which every workload is measured.
        second: the independent round of the workloads that the first calls slower; None if it was not run.
        threshold: the slow-down that matters, as a share.
        alpha: one-sided level of each round (see :func:`alpha_of`).

    Returns:
        Its numbers are those of the second round where there is one: the first is biased, since it selected the
        workload.
    """
    slower = first.passes_as_slower(threshold, alpha)
    shown = second if slower and second is not None and second.df >= 1 else first
    if slower and second is not None and second.passes_as_slower(threshold, alpha):
        kind: Kind = "slower"
    elif not slower and first.bound(ALPHA, upper=True) < math.log1p(threshold):
        kind = "pass"
    else:  # a first round that said slower leaves a doubt, and a second chance to pass would double that error
        kind = "inconclusive"
    notes = {"slower": "in both rounds", "inconclusive": "slower in the first round, not confirmed by the second"}
    low, high = shown.bound(ALPHA), shown.bound(ALPHA, upper=True)
    blocks = (len(first.estimates),) + ((len(second.estimates),) if second is not None else ())
    return TimeVerdict(
        kind,
        math.expm1(shown.mean),
        math.expm1(low),
        _ratio(high),
        shown.detectable(threshold, alpha),
        blocks,
        notes.get(kind, "") if slower else "",
    )


def control_moved(control: Round, threshold: float) -> bool:
    """Whether work that no change can touch seems to differ: by more than half the threshold, and a two-sided 95%
    interval excludes zero. The round then says something about the machine and nothing about the change."""
    if control.df < 1:
        return False
    margin = _t(0.975, control.df) * control.se
    return abs(control.mean) > math.log1p(threshold) / 2 and abs(control.mean) > margin


def _ratio(log_ratio: float) -> float:
    return math.inf if math.isinf(log_ratio) else math.expm1(log_ratio)


def _t(probability: float, df: int) -> float:
    from scipy.stats import t

    return float(t.ppf(probability, df))
