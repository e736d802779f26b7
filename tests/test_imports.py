"""Policy as tests: imports go one way, planning never loads torch, and the core never names a technique."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from sota_bench import registry

ROOT = Path(__file__).parents[1]
CORE, TECHNIQUES = ROOT / "sota_bench", ROOT / "ablations"
HEAVY = {"torch", "torchvision", "timm", "safetensors", "fastai", "lightning", "composer"}

TORCH_FREE = [
    "cli",
    "errors",
    "technique",
    "registry",
    "randomness",
    "grid",
    "plan",
    "stats",
    "report",
    "store",
    "forecast",
    "regression",
    "commands",
    "data",
]
"""Modules and packages that never import torch when they are imported, not even through others."""

LAYERS = {
    "errors": set(),
    "randomness": set(),
    "technique": {"grid.backbones", "grid.resize_schedule"},
    "registry": {"errors", "technique"},
    "files": set(),
    "processes": set(),
    "grid": {"errors", "files", "processes", "technique", "registry", "grid"},
    "stats": {"errors", "stats", "grid.nearest"},
}
"""What the lowest layers may import of sota_bench at all, at any place in a file."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache
def sources() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(CORE.rglob("*.py"))}


@lru_cache(maxsize=1024)
def imports(path: Path, *, at_import: bool, types: bool = False) -> tuple[str, ...]:
    """Names of imported modules; ``at_import`` leaves out those inside functions, ``types`` adds those for types."""
    return tuple(_walk(ast.parse(path.read_text(encoding="utf-8")), at_import, types))


def _walk(node: ast.AST, at_import: bool, types: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            yield child.module or ""
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif at_import and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        elif not types and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _walk(other, at_import, types)
        else:
            yield from _walk(child, at_import, types)


@lru_cache
def loads(module: str) -> frozenset[str]:
    """The modules of sota_bench that importing one loads directly, its parent packages among them."""
    found = {name for name in imports(sources()[module], at_import=True) if name in sources()}
    with_parents = {
        ".".join(name.split(".")[:depth]) for name in {*found, module} for depth in range(1, name.count(".") + 2)
    }
    return frozenset((with_parents & sources().keys()) - {module})


def reachable(module: str) -> dict[str, str]:
    """Every module that importing one loads, with the module that imports it first."""
    seen, waiting = {module: ""}, [module]
    while waiting:
        current = waiting.pop()
        for name in loads(current):
            if name not in seen:
                seen[name] = current
                waiting.append(name)
    return seen


def chain(seen: dict[str, str], module: str) -> str:
    names = [module]
    while seen[names[-1]]:
        names.append(seen[names[-1]])
    return " <- ".join(names)


@pytest.mark.parametrize("part", TORCH_FREE)
def test_no_path_of_imports_leads_to_torch(part: str) -> None:
    modules = [name for name in sources() if name == f"sota_bench.{part}" or name.startswith(f"sota_bench.{part}.")]
    if not modules:
        pytest.skip(f"there is no sota_bench.{part} yet")
    for module in modules:
        seen = reachable(module)
        for name in seen:
            heavy = {found for found in imports(sources()[name], at_import=True) if found.split(".")[0] in HEAVY}
            assert not heavy, f"{chain(seen, name)} imports {sorted(heavy)}"


def test_the_walk_does_find_torch_where_it_is() -> None:
    seen = reachable("sota_bench.training.backbone")
    assert any("torch" in imports(sources()[name], at_import=True) for name in seen)


def test_loading_them_does_not_load_torch() -> None:
    parts = tuple(f"sota_bench.{part}" for part in TORCH_FREE)
    names = [name for name in sources() if name.startswith(parts) and not name.endswith("__main__")]
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
    code += "from sota_bench.registry import techniques\ntechniques()\n"
    code += f"print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("part", LAYERS)
def test_layers_import_downwards_only(part: str) -> None:
    allowed = {f"sota_bench.{name}" for name in LAYERS[part]}
    for module, path in sources().items():
        if module != f"sota_bench.{part}" and not module.startswith(f"sota_bench.{part}."):
            continue
        for name in imports(path, at_import=False):
            if not name.startswith("sota_bench."):
                continue
            fits = any(name == one or name.startswith(f"{one}.") for one in allowed)
            assert fits, f"{module} imports {name}; {part} may import {sorted(allowed)}"


def technique_files() -> list[Path]:
    return sorted(path for path in TECHNIQUES.glob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", technique_files(), ids=lambda path: path.stem)
def test_a_technique_imports_only_the_public_interface(path: Path) -> None:
    standard = sys.stdlib_module_names
    for name in imports(path, at_import=True):
        root = name.split(".")[0]
        if root == "sota_bench":
            assert name.startswith("sota_bench.technique"), name
        else:
            assert root in standard or root in {"numpy", "pydantic"}, name
    for name in imports(path, at_import=False, types=True):
        root = name.split(".")[0]
        own = name.startswith(("sota_bench.technique", "sota_bench.training.phase", "sota_bench.data.cache"))
        assert own or root in standard or root in {"numpy", "pydantic", "torch", "timm"}, name


def forbidden() -> set[str]:
    """Names, fields and levels that belong to techniques, but for settings that are plain words."""
    found = set()
    for name, technique in registry.techniques().items():
        found |= {name, name.replace("-", "_"), technique.field}
        found |= {field for field in technique.settings.model_fields if "_" in field}
        if technique.level is not None:
            found.add(str(technique.level))
    return found - ALLOWED_WORDS


ALLOWED_WORDS = {"base", "width", "depth", "classes", "fraction", "per_class", "eval_images", "freeze", "resize"}
"""Plain words that a technique uses as a name: the core says them of arrays, networks and progress."""

WITHIN_RUN = {"report", "stats", "commands/analyze.py"}
"""Places that know by contract the factor that is compared within a run."""


def test_the_core_never_names_a_technique() -> None:
    names = forbidden()
    assert len(names) >= 5, "the techniques were not found"
    found = []
    for module, path in sources().items():
        if any(part in str(path.relative_to(CORE)) for part in WITHIN_RUN):
            continue
        for node in ast.walk(_without_docstrings(ast.parse(path.read_text(encoding="utf-8")))):
            said = None
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said = node.value
            elif isinstance(node, ast.Name):
                said = node.id
            elif isinstance(node, ast.Attribute):
                said = node.attr
            elif isinstance(node, ast.arg | ast.keyword):
                said = node.arg
            if said in names:
                found.append(f"{module}:{getattr(node, 'lineno', '?')} says {said!r}")
    assert not found, "\n".join(found)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                part for part in body if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
            ]
    return tree


def test_every_folder_and_module_says_what_it_is() -> None:
    for path in sources().values():
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert docstring, f"{path} has no docstring"
        if path.name == "__init__.py":
            assert len(docstring.splitlines()) <= 3, f"{path} says what lives there in more than three lines"


def test_no_import_inside_sota_bench_points_nowhere() -> None:
    for path in sources().values():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sota_bench"):
                assert node.module in sources(), f"{path} imports {node.module}, which is not there"
