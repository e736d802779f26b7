"""Writes ``avalanche_forgetting.json``: forgetting and backward transfer of some matrices by avalanche.

Run it in an environment of its own, with avalanche 0.6 installed beside torch::

    pip install "avalanche-lib==0.6.*"
    python tests/references/avalanche_forgetting.py
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from avalanche.evaluation.metrics.forgetting_bwt import BWT, Forgetting

MATRICES = {
    "best when just learned": [
        [92.0, 10.0, 12.0, 9.0],
        [80.0, 90.0, 15.0, 11.0],
        [84.0, 70.0, 88.0, 20.0],
        [60.0, 75.0, 81.0, 85.0],
    ],
    "gains and losses": [[50.0, 0.0, 0.0], [70.0, 60.0, 0.0], [65.0, 62.0, 40.0]],
    "two sizes": [[80.0, 55.0], [72.0, 84.0]],
}
"""R[phase, task] in percent."""


def main() -> None:
    """Tells each metric every task's accuracy when it was learned, then at the end."""
    found = {}
    for name, matrix in MATRICES.items():
        told = {}
        for label, metric in (("forgetting", Forgetting()), ("backward_transfer", BWT())):
            last = len(matrix) - 1
            for task in range(last + 1):
                metric.update(task, matrix[task][task], initial=True)
            for task in range(last):
                metric.update(task, matrix[last][task])
            by_task = metric.result()
            told[label] = [by_task[task] for task in range(last)]
        found[name] = {"matrix": matrix, **told}
    out = {"made_with": {"avalanche-lib": version("avalanche-lib")}, "matrices": found}
    (Path(__file__).parent / "avalanche_forgetting.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
