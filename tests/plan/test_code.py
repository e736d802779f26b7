"""Which code is part of a key, and which changes of it do not matter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sota_bench.plan.code import code_of, source_digest

BEFORE = '''
"""A module."""
LIMIT = 3
"""What it limits."""

def double(x):
    """Twice."""
    return 2 * x  # exact
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another text."""'),
        ('    """Twice."""\n', ""),
        ("  # exact", ""),
        ('"""What it limits."""', '"""A limit."""'),
        ("return 2 * x", "return (2 * x)"),
        ("LIMIT = 3\n", "LIMIT = 3\n\n\n"),
    ],
)
def test_comments_docstrings_and_layout_may_change(old: str, new: str) -> None:
    assert source_digest(BEFORE.replace(old, new)) == source_digest(BEFORE)


@pytest.mark.parametrize(
    ("old", "new"), [("2 * x", "x * 2"), ("LIMIT = 3", "LIMIT = 4"), ("double(x)", "double(x, y=1)")]
)
def test_anything_else_may_not(old: str, new: str) -> None:
    assert source_digest(BEFORE.replace(old, new)) != source_digest(BEFORE)


def test_a_training_depends_on_the_loop_and_its_own_techniques_alone() -> None:
    code = code_of("train", ["ablations.mixup"])
    assert {"sota_bench.training.train", "sota_bench.training.crop", "sota_bench.randomness", "ablations.mixup"} <= set(
        code
    )
    assert not any(name.startswith(("sota_bench.report", "sota_bench.stats", "sota_bench.store")) for name in code)
    assert "ablations.tta" not in code
    assert "sota_bench.training.evaluate" not in code


def test_finding_the_code_does_not_import_it() -> None:
    find = "from sota_bench.plan.code import code_of; code_of('train', ['ablations.mixup'])"
    ask = f"import sys; {find}; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
