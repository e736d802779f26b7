"""Digest of the code that decides a stage's result: modules and all that they import from this project, as syntax trees
without comments and docstrings, so that those may change freely."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

DECIDING = (
    "sota_bench.data",
    "sota_bench.training",
    "sota_bench.randomness",
    "sota_bench.metrics",
    "sota_bench.technique",
    "ablations",
)
"""Packages whose code can change a result, beside the packages that techniques are declared in. The rest (planning,
storing, reporting) only moves results about."""

ROOTS = {
    "prepare": ("sota_bench.data.prepare",),
    "train": ("sota_bench.training.train",),
    "evaluate": ("sota_bench.training.evaluate",),
    "probe": ("sota_bench.training.probe",),
    "precompute": ("sota_bench.training.precompute",),
}
"""Where each kind of stage starts; every kind not named here is a technique's precompute stage."""


def _strip_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:] or [ast.Pass()]
        if isinstance(node, ast.Module | ast.ClassDef):  # strings below an assignment document it
            node.body = [
                part for part in node.body if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
            ] or [ast.Pass()]


def source_digest(source: str) -> str:
    """SHA-256 in hex of Python source, without comments, docstrings and layout."""
    tree = ast.parse(source)
    _strip_docstrings(tree)
    return hashlib.sha256(ast.dump(tree, annotate_fields=False).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _file_digest(path: Path, mtime_ns: int) -> str:
    return source_digest(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=4096)
def _path_of(module: str) -> Path | None:
    """The source file of a module, found without importing it; None for what is no module of Python source."""
    loaded = sys.modules.get(module)
    if loaded is not None and getattr(loaded, "__file__", None):
        return Path(str(loaded.__file__))
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        place = Path(folder, *rest)
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path
    return None


def _deciding(module: str, packages: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


@lru_cache(maxsize=4096)
def _imports(path: Path, mtime_ns: int, module: str) -> tuple[str, ...]:
    """Every module that a file may import, also what its ``from`` imports name where that is a module."""
    found: dict[str, None] = {}
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(dict.fromkeys(alias.name for alias in node.names))
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*above, *([node.module] if node.module else [])])
            found[name] = None
            found.update(dict.fromkeys(f"{name}.{alias.name}" for alias in node.names))
    return tuple(found)


@lru_cache(maxsize=1024)
def closure(roots: tuple[str, ...]) -> dict[str, str]:
    """The modules in ``roots`` and every deciding module that they import, anywhere in their code; what lies in the
    package of a root decides as well.

    Returns:
        Module name -> digest, sorted by name.
    """
    waiting, found = list(roots), dict[str, str]()
    own = {root.split(".")[0] for root in roots} - {"sota_bench"}
    while waiting:
        module = waiting.pop()
        path = _path_of(module)
        if module in found or path is None:
            continue
        mtime = path.stat().st_mtime_ns
        found[module] = _file_digest(path, mtime)[:16]
        waiting += [name for name in _imports(path, mtime, module) if _deciding(name, (*DECIDING, *own))]
    return dict(sorted(found.items()))


def code_of(kind: str, techniques: Iterable[str]) -> dict[str, str]:
    """The code that decides a stage of ``kind`` with techniques declared in the modules ``techniques``."""
    return closure((*ROOTS.get(kind, ROOTS["precompute"]), *sorted(set(techniques))))
