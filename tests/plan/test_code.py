"""Which code is part of a key, and which changes of it do not matter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sota_bench.plan.code import code_of, source_digest

BEFORE = '''
"""A module."""
LIMIT = 3
"""What it limits."""

rate: float = setting(0.1, "how fast", scope="train", ge=0)
card = Card(name="Double", claim="it doubles")

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
        ('"how fast"', '"the rate"'),
        ('claim="it doubles"', 'claim="it multiplies by two", why="because"'),
    ],
)
def test_comments_docstrings_and_layout_may_change(old: str, new: str) -> None:
    assert source_digest(BEFORE.replace(old, new)) == source_digest(BEFORE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("2 * x", "x * 2"), ("LIMIT = 3", "LIMIT = 4"), ("double(x)", "double(x, y=1)"), ("0.1", "0.2"), ("ge=0", "ge=1")],
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


@pytest.mark.parametrize("kind", ["prepare", "train", "evaluate", "probe", "fisher"])
def test_what_hands_a_stage_over_is_part_of_its_key(kind: str) -> None:
    assert "sota_bench.training.execute" in code_of(kind, [])
    if kind != "prepare":
        assert {"sota_bench.grid.recipe", "sota_bench.grid.resize_schedule"} <= set(code_of(kind, []))


MINE = """
from sota_bench.technique import Technique
{how}
"""


@pytest.mark.parametrize(
    "how", ["import helper", "from helper import factor", "def late():\n    import helper", "import other"]
)
def test_what_a_local_technique_file_imports_is_part_of_its_key(tmp_path: Path, how: str) -> None:
    (tmp_path / "mine.py").write_text(MINE.format(how=how))
    (tmp_path / "other.py").write_text("import helper\n")
    digests = []
    for factor in (1, 2):
        (tmp_path / "helper.py").write_text(f"factor = {factor}\n")
        find = (
            "from pathlib import Path; from sota_bench import registry; from sota_bench.plan.code import code_of; "
            f"module = registry.load_file(Path({str(tmp_path / 'mine.py')!r})); "
            "print(code_of('train', [module.__name__])['helper'])"
        )
        answer = subprocess.run([sys.executable, "-c", find], capture_output=True, text=True, check=True)
        digests.append(answer.stdout)
    assert digests[0] != digests[1]


def test_finding_the_code_does_not_import_it() -> None:
    find = "from sota_bench.plan.code import code_of; code_of('train', ['ablations.mixup'])"
    ask = f"import sys; {find}; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
