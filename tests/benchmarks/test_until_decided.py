"""The study of runs until they are decided: it stops as `analyze` does, and its committed results reach the targets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from sota_bench.stats import analyze
from sota_bench.stats.contrasts import main_contrasts
from sota_bench.stats.sequential import Look, plan_looks
from sota_bench.stats.verdicts import UNDETECTED

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "until_decided.json"


def test_a_simulated_grid_ends_as_analyze_would_end_it(imported: Callable[[str], ModuleType]) -> None:
    study = imported("until_decided")
    scenario = study.scenarios()[0]
    design, rng = study.design_of(scenario), np.random.default_rng(4)
    for _ in range(2):
        truth, y = study.draw(scenario, design, rng)
        outcome = study.run(design, main_contrasts(design), plan_looks(study.FIRST, study.MOST), truth, y)
        runs, decided, number, analysis = [study.FIRST] * 6, [], 0, None
        for number, seeds in enumerate(plan_looks(study.FIRST, study.MOST).seeds, 1):
            if analysis is not None:
                still = [int(row.level) for row in analysis.headlines() if not row.decided]
                if not still:
                    break
                runs = [seeds if level in (0, *still) else before for level, before in enumerate(runs)]
            table = pd.DataFrame([
                {"level": str(level), "seed": seed, "accuracy": 50 + y[seed, level]}
                for level in range(6)
                for seed in range(runs[level])
            ])  # fmt: skip
            analysis = analyze(
                table, response="accuracy", factors={"level": list("012345")}, delta=study.DELTA, unit="pp",
                look=Look(plan_looks(study.FIRST, study.MOST), number), decided=decided,
            )  # fmt: skip
            decided = [row for row in analysis.contrasts if row.decided]
        assert analysis is not None
        verdicts = [row.verdict.replace(UNDETECTED, "open") for row in analysis.headlines()]
        assert (verdicts, sum(runs)) == (outcome.verdicts, outcome.trainings)


def test_false_claims_are_told_apart(imported: Callable[[str], ModuleType]) -> None:
    study = imported("until_decided")

    def of(truth: float, verdict: str) -> tuple[bool, bool]:
        return tuple(study.false_claims(study.Outcome(np.array([truth]), [verdict], [3], 6)))

    assert of(0.0, "helps") == (True, False) and of(-1.0, "helps") == (True, False)
    assert of(1.0, "no effect larger than delta") == (False, True)
    assert of(0.0, "no effect larger than delta") == of(1.0, "helps") == of(1.0, "open") == (False, False)


def test_the_committed_results_reach_the_targets(imported: Callable[[str], ModuleType]) -> None:
    study = imported("until_decided")
    rows = {row["title"]: study.Row(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))["scenarios"]}
    assert list(rows) == [scenario.title for scenario in study.scenarios()]
    for scenario in study.scenarios():
        assert rows[scenario.title].grids >= 1000
        assert not study.misses(scenario, rows[scenario.title]), scenario.title


def test_verdicts_of_looks_and_of_all_seeds_are_compared(imported: Callable[[str], ModuleType]) -> None:
    photographs = imported("decided_photographs")
    row = {"factor": "mixup", "level": "0.4", "baseline": "0.0", "seeds_used": "6.0", "estimate": "-2.5"}
    ended = {"until_decided": {"trainings": 30, "ended": "decided"}}

    def agree(looked: str, fixed: str) -> bool:
        result = photographs.compared([row | {"verdict": looked}], [row | {"verdict": fixed}], ended, 80)
        assert "30 trainings until decided, 80 with all seeds: 38%." in photographs.page(result)
        return bool(result["questions"][0]["agree"])

    assert agree("hurts", "hurts") and agree("hurts", "no detectable effect") and agree("hurts", "real but negligible")
    assert not agree("hurts", "helps") and not agree("hurts", "no effect larger than delta")


def test_on_photographs_the_committed_verdicts_agree(imported: Callable[[str], ModuleType]) -> None:
    photographs = imported("decided_photographs")
    result = json.loads((RESULTS.parent / "decided_photographs.json").read_text(encoding="utf-8"))
    assert result["trainings"] < result["trainings_fixed"] and len(result["questions"]) == 3
    for row in result["questions"]:
        assert photographs.agree(row["verdict"], row["verdict_fixed"]) and row["verdict"] in photographs.DECIDED
