"""Whether a run until it is decided ends with the verdicts of 20 seeds, on real photographs, and at what share of them.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/decided_photographs.py

Runs ``ablations/grids/until-decided.toml`` as it is, and once more with all of its 20 seeds and one analysis, in the
same store, so that the second run trains only what the first one left out. Writes
``benchmarks/results/decided_photographs.json`` and ``.md``. Exit code 1 where verdicts contradict each other: one says
helps or hurts, and the other denies it or says the opposite. One that is open contradicts nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import record

ROOT = Path(__file__).resolve().parents[1]
GRID = ROOT / "ablations" / "grids" / "until-decided.toml"
RESULTS = Path(__file__).resolve().parent / "results"
DECIDED = ("helps", "hurts", "real but negligible", "no effect larger than delta")


def run(folder: Path, name: str, *options: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The main contrasts that verdicts are read from, and the record of the run."""
    out = folder / name
    command = [sys.executable, "-m", "sota_bench", "run", GRID, "--store", folder / "store", "--out", out, *options]
    subprocess.run([*map(str, command)], check=True)
    with (out / "contrasts.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "main" and row["headline"] == "True"]
    run_record: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return rows, run_record


def agree(looked: str, fixed: str) -> bool:
    """Whether two verdicts can both be true; one that is open contradicts nothing."""
    if looked not in DECIDED or fixed not in DECIDED:
        return True
    return looked == fixed or "real but negligible" in (looked, fixed)


def compared(
    looked: list[dict[str, str]], fixed: list[dict[str, str]], looked_record: dict[str, Any], trainings: int
) -> dict[str, Any]:
    """Both verdicts of each question, and the trainings of both runs."""
    by_question = {(row["factor"], row["level"]): row for row in fixed}
    questions = []
    for row in looked:
        other = by_question[row["factor"], row["level"]]
        questions.append({
            "question": f"{row['factor']} {row['level']} vs {row['baseline']}", "seeds": int(float(row["seeds_used"])),
            "verdict": row["verdict"], "estimate": float(row["estimate"]), "verdict_fixed": other["verdict"],
            "estimate_fixed": float(other["estimate"]), "agree": agree(row["verdict"], other["verdict"]),
        })  # fmt: skip
    return {
        "questions": questions, "trainings": looked_record["until_decided"]["trainings"],
        "trainings_fixed": trainings, "ended": looked_record["until_decided"]["ended"],
    }  # fmt: skip


def page(result: dict[str, Any]) -> list[str]:
    """The results as markdown."""
    rows = [
        [row["question"], row["verdict"], f"{row['estimate']:+.1f}", row["seeds"], row["verdict_fixed"],
         f"{row['estimate_fixed']:+.1f}", "yes" if row["agree"] else "no"]
        for row in result["questions"]
    ]  # fmt: skip
    heads = ["question", "until decided", "pp", "seeds", "all seeds, one analysis", "pp", "agree"]
    share = result["trainings"] / result["trainings_fixed"]
    return [
        f"{result['trainings']} trainings until decided, {result['trainings_fixed']} with all seeds: {share:.0%}.",
        "",
        *record.table(heads, rows),
    ]


def main() -> int:
    """Runs both and writes the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images, at most 4 seeds")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    seeds, small = 20, []
    if options.quick:
        seeds = 4
        small = ["--set", "data.fraction=0.02", "--set", "data.eval_images=100", "--set", 'recipe.resize="16x1"']
    with tempfile.TemporaryDirectory() as folder:
        looked, looked_record = run(Path(folder), "looked", *small, "--max-seeds", str(seeds))
        every = ",".join(map(str, range(seeds)))
        fixed, fixed_record = run(Path(folder), "fixed", *small, "--set", 'grid.stop="seeds"', "--seeds", every)
    result = compared(looked, fixed, looked_record, fixed_record["counts"]["done"])
    content = {**record.provenance("cpu"), **result}
    print(record.write(options.out, "decided_photographs", "Until decided, on photographs", page(result), content))
    return 0 if all(row["agree"] for row in result["questions"]) else 1


if __name__ == "__main__":
    sys.exit(main())
