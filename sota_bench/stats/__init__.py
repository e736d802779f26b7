"""Contrasts between levels, their intervals, multiplicity, power and verdicts, on any table of repeated trials.

`analyze` is the door; the modules beside it hold one idea each and work on plain arrays. Nothing here imports torch.
"""

from sota_bench.stats.analysis import analyze, nothing_to_compare
from sota_bench.stats.forgetting import Forgetting, forgetting
from sota_bench.stats.ranking import best_set, pareto
from sota_bench.stats.result import Analysis, ContrastRow, Overview
from sota_bench.stats.verdicts import VERDICTS

__all__ = [
    "VERDICTS",
    "Analysis",
    "ContrastRow",
    "Forgetting",
    "Overview",
    "analyze",
    "best_set",
    "forgetting",
    "nothing_to_compare",
    "pareto",
]
