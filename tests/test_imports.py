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

LAYERS = (
    ("errors", "files", "metrics", "preload", "processes", "randomness", "responses", "streams"),
    ("interrupts", "units"),
    ("technique",),
    ("registry",),
    ("grid",),
    ("stages",),
    ("data", "store"),
    ("plan", "stats"),
    ("engine", "regression", "training"),
    ("fidelity", "forecast"),
    ("runs",),
    ("report",),
    ("curate", "ship"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
"""Every part of sota_bench, the lowest first: a part imports itself and parts of lower layers, anywhere in a file."""

ONLY = {
    "stages": set(),
    "store": {"errors", "files", "stages", "units"},
    "stats": {"errors", "grid.nearest", "units"},
    "training": {
        "data",
        "errors",
        "files",
        "grid",
        "metrics",
        "randomness",
        "registry",
        "stages",
        "technique",
        "units",
    },
    "engine": {"errors", "files", "interrupts", "plan", "preload", "processes", "stages", "store", "units"},
}
"""Parts that may import less than all that lies below them: ``training`` knows no plan, and the engine knows stages and
keys but not what a training is."""

UPWARDS = {"technique": {"grid.backbones", "grid.resize_schedule"}}
"""Helpers of a higher package that import nothing of it: names of backbones, and schedules of resolution."""

WITH_TORCH = {"curate", "ship", "training"}
"""Parts that may import torch when they are imported."""

PARTS = [part for layer in LAYERS for part in layer]
TORCH_FREE = [part for part in PARTS if part not in WITH_TORCH]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache
def sources() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(CORE.rglob("*.py"))}


def part_of(module: str) -> str:
    """The part of sota_bench that a module belongs to."""
    return [*module.split("."), ""][1]


def modules_of(part: str) -> list[str]:
    """The modules of a part, of which there is one at least."""
    modules = [module for module in sources() if part_of(module) == part]
    assert modules, f"there is no sota_bench.{part}"
    return modules


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
    for module in modules_of(part):
        seen = reachable(module)
        for name in seen:
            heavy = {heavy for heavy in imports(sources()[name], at_import=True) if heavy.split(".")[0] in HEAVY}
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


def test_every_part_has_its_layer() -> None:
    assert {part_of(module) for module in sources()} - {""} == set(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_imports_go_downwards_only(part: str) -> None:
    level = next(number for number, layer in enumerate(LAYERS) if part in layer)
    below = {other for layer in LAYERS[:level] for other in layer}
    allowed = {f"sota_bench.{name}" for name in ONLY.get(part, below) | UPWARDS.get(part, set()) | {part}}
    for module in modules_of(part):
        for name in imports(sources()[module], at_import=False):
            if name in sources() and name != "sota_bench":
                fits = any(name == one or name.startswith(f"{one}.") for one in allowed)
                assert fits, f"{module} imports {name}; {part} may import {sorted(allowed)}"


def test_what_a_part_may_import_lies_below_it() -> None:
    for part, names in ONLY.items():
        assert all(PARTS.index(name.split(".")[0]) < PARTS.index(part) for name in names)


def uses(module: str) -> set[str]:
    """The modules whose content a module imports anywhere; of a package whose module it names, that module alone."""
    names = {name for name in imports(sources()[module], at_import=False) if name in sources()}
    packages = {name.rpartition(".")[0] for name in names}
    return names - packages - {module}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: uses(module) for module in sources()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, "a circle: " + " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


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
        own = name.startswith("sota_bench.technique")
        assert own or root in standard or root in {"numpy", "pydantic", "torch", "timm"}, name


def forbidden() -> set[str]:
    """Names, fields and levels that belong to techniques, but for settings that are plain words."""
    found = set()
    for name, technique in registry.techniques().items():
        found |= {name, name.replace("-", "_"), technique.field}
        found |= {field for field in technique.settings_type.model_fields if "_" in field}
        if technique.level is not None:
            found.add(str(technique.level))
    return found - ALLOWED_WORDS


ALLOWED_WORDS = {
    "base",
    "width",
    "depth",
    "classes",
    "fraction",
    "per_class",
    "eval_images",
    "train_labels",
    "freeze",
    "resize",
    "loss",
}
"""Plain words that a technique uses as a name: the core says them of arrays, networks and progress."""

WITHIN_RUN = {"report": {"tta"}, "commands/analyze.py": {"tta"}, "commands/predict.py": {"tta"}}
"""Places that know by contract the factor that is compared within a run: a column of ``evaluations.csv``, an option
of ``analyze`` and ``predict``."""


def test_the_core_never_names_a_technique() -> None:
    names = forbidden()
    assert len(names) >= 5, "the techniques were not found"
    found = []
    for module, path in sources().items():
        file = path.relative_to(CORE).as_posix()
        allowed = {name for part, columns in WITHIN_RUN.items() if file.startswith(part) for name in columns}
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
            if said in names - allowed:
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
