"""Techniques are found where they are declared, and one that fails to load is one line that names it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from sota_bench import registry
from sota_bench.errors import UserError

ROOT = Path(__file__).parents[1]
TECHNIQUE = """
from sota_bench.technique import Card, Technique
class One(Technique):
    name, field, off = "{name}", "flip", True
    card = Card(name="n", claim="{claim}", response="accuracy", why="w", paper="p", defaults="d", cost="c", fails="f")
"""


def test_every_file_of_the_package_declares_a_technique() -> None:
    files = {path.stem for path in (ROOT / "ablations").glob("*.py") if not path.name.startswith("_")}
    declared = {technique.__module__.removeprefix("ablations.") for technique in registry.techniques().values()}
    assert declared == files


def test_the_order_is_that_of_the_hooks() -> None:
    orders = [technique.order for technique in registry.techniques().values()]
    assert orders == sorted(orders)


def test_two_local_files_of_one_name_are_two_techniques(tmp_path: Path) -> None:
    files = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "mine.py")
        files[-1].write_text(TECHNIQUE.format(name=f"local-{folder}", claim=folder))
    found = registry.techniques(tuple(files))
    assert found["local-a"].card.claim == "a" and found["local-b"].card.claim == "b"
    assert "local-a" not in registry.techniques()


def test_two_techniques_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("x.py", "y.py"):
        (tmp_path / name).write_text(TECHNIQUE.format(name="same", claim="c"))
    with pytest.raises(UserError, match=r"y\.py: same: the technique is also declared in x\.py"):
        registry.techniques((tmp_path / "x.py", tmp_path / "y.py"))


def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_techniques").mkdir()
    (tmp_path / "broken_techniques" / "__init__.py").write_text("")
    (tmp_path / "broken_techniques" / "bad.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("broken", "broken_techniques", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.raises(UserError, match=r"broken_techniques\.bad: the technique cannot be loaded \(ZeroDivisionError"):
        registry.techniques.__wrapped__(())
    missing = EntryPoint("missing", "nowhere_at_all", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [missing])
    with pytest.raises(UserError, match="nowhere_at_all: the technique cannot be loaded"):
        registry.techniques.__wrapped__(())


def test_without_any_technique_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.techniques.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: [])
    with pytest.raises(UserError, match="no techniques are installed; install it"):
        registry.techniques()


def test_another_package_adds_its_techniques(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "more_techniques.py").write_text(TECHNIQUE.format(name="more", claim="c"))
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("more", "more_techniques", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert list(registry.techniques.__wrapped__(())) == ["more"]


def test_no_technique_file_loads_torch() -> None:
    code = "import sys; from sota_bench.registry import techniques; techniques(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"
