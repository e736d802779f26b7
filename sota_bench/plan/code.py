"""Digest of the code that decides a stage's result: modules and all that they import from this project, as syntax trees
without comments, docstrings and descriptions, so that those may change freely."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sota_bench.registry import LOCAL_PREFIX

DECIDING = (
    "sota_bench.data",
    "sota_bench.training",
    "sota_bench.grid.recipe",
    "sota_bench.grid.resize_schedule",
    "sota_bench.randomness",
    "sota_bench.metrics",
    "sota_bench.technique",
    "ablations",
)
"""Packages whose code can change a result, beside the packages that techniques are declared in. The rest (planning,
checking, storing, reporting) only moves results about."""

DISPATCH = "sota_bench.training.execute"
"""Hands every stage to the module of its kind: part of every key, without what it imports."""

ROOTS = {
    "prepare": ("sota_bench.data.prepare",),
    "train": ("sota_bench.training.train",),
    "evaluate": ("sota_bench.training.evaluate",),
    "probe": ("sota_bench.training.probe",),
    "precompute": ("sota_bench.training.precompute",),
}
"""Where each kind of stage starts; every kind not named here is a technique's own stage."""

PROSE = {"Card": None, "setting": "help", "Field": "description"}
"""Calls whose text is for people: a card as a whole, and the descriptions of settings and keys."""


@dataclass(frozen=True)
class _Source:
    """What matters of a file of Python source.

    Attributes:
        digest: SHA-256 in hex of what is left without prose.
        imports: every import statement in it.
    """

    digest: str
    imports: tuple[ast.Import | ast.ImportFrom, ...]


class _WithoutProse(ast.NodeTransformer):
    """Takes out docstrings, strings that document what stands above them, and descriptions; notes imports."""

    def __init__(self) -> None:
        self.imports: list[ast.Import | ast.ImportFrom] = []

    def _note(self, node: ast.Import | ast.ImportFrom) -> ast.AST:
        self.imports.append(node)
        return node

    visit_Import = visit_ImportFrom = _note

    def _bare(self, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _bare

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in PROSE:
            return node
        if (keyword := PROSE[name]) is None:
            return ast.Call(node.func, [], [])
        node.keywords = [part for part in node.keywords if part.arg != keyword]
        if name == "setting":  # its second argument is the description
            del node.args[1:2]
        return node


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def source_digest(source: str) -> str:
    """SHA-256 in hex of Python source, without comments, docstrings, descriptions and layout."""
    return _read(source).digest


def _read(source: str) -> _Source:
    reader = _WithoutProse()
    tree = reader.visit(ast.parse(source))
    digest = hashlib.sha256(ast.dump(tree, annotate_fields=False).encode()).hexdigest()
    return _Source(digest, tuple(reader.imports))


@lru_cache(maxsize=4096)
def _read_file(path: Path, mtime_ns: int) -> _Source:
    return _read(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=4096)
def _path_of(module: str) -> Path | None:
    """The source file of a module, found without importing it; None for what is no module of Python source."""
    loaded = sys.modules.get(module)
    if loaded is not None and getattr(loaded, "__file__", None):
        return Path(str(loaded.__file__))
    top, *inner = module.split(".")
    spec = importlib.util.find_spec(top)
    return _python_file(spec.submodule_search_locations or () if spec else (), inner)


def _python_file(folders: Iterable[str | Path], names: Iterable[str]) -> Path | None:
    for folder in folders:
        target = Path(folder, *names)
        for path in (target.with_suffix(".py"), target / "__init__.py"):
            if path.is_file():
                return path
    return None


def _own_file(path: Path, module: str) -> Path | None:
    """The source file of a module that the local file at ``path`` imports; None for one of Python's own or of an
    installed package."""
    if module.partition(".")[0] in {"sota_bench", *sys.stdlib_module_names}:
        return None
    file = _python_file([path.parent], module.split(".")) or _path_of(module)
    return None if file is None or any(file.is_relative_to(folder) for folder in _INSTALLED) else file


_INSTALLED = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}


def _deciding(module: str, packages: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


@lru_cache(maxsize=4096)
def _imports(path: Path, mtime_ns: int, module: str) -> tuple[str, ...]:
    """Every module that a file may import, also what its ``from`` imports name where that is a module."""
    names: dict[str, None] = {}
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in _read_file(path, mtime_ns).imports:
        if isinstance(node, ast.Import):
            names.update(dict.fromkeys(alias.name for alias in node.names))
        else:
            above = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*above, *([node.module] if node.module else [])])
            names[name] = None
            names.update(dict.fromkeys(f"{name}.{alias.name}" for alias in node.names))
    return tuple(names)


def closure(roots: tuple[str, ...]) -> dict[str, str]:
    """The modules in ``roots`` and every deciding module that they import, anywhere in their code; what lies in the
    package of a root decides as well, and so does what a local technique file imports that is not installed.

    Returns:
        Module name -> digest, sorted by name.
    """
    return dict(_closure(roots))


@lru_cache(maxsize=1024)
def _closure(roots: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    waiting = [(root, _path_of(root), root.startswith(LOCAL_PREFIX)) for root in roots]
    digests = dict[str, str]()
    own = {root.split(".")[0] for root in roots} - {"sota_bench"}
    while waiting:
        module, path, local = waiting.pop()
        if module in digests or path is None:
            continue
        mtime = path.stat().st_mtime_ns
        digests[module] = _read_file(path, mtime).digest[:16]
        for name in _imports(path, mtime, module):
            if _deciding(name, (*DECIDING, *own)):
                waiting.append((name, _path_of(name), False))
            elif local:
                waiting.append((name, _own_file(path, name), True))
    return tuple(sorted(digests.items()))


def code_of(kind: str, techniques: Iterable[str]) -> dict[str, str]:
    """The code that decides a stage of ``kind`` with techniques declared in the modules ``techniques``."""
    dispatch = _path_of(DISPATCH)
    assert dispatch is not None
    digests = closure((*ROOTS.get(kind, ROOTS["precompute"]), *sorted(set(techniques))))
    return digests | {DISPATCH: _read_file(dispatch, dispatch.stat().st_mtime_ns).digest[:16]}
