"""Finds the techniques: every module of each package named by the entry-point group ``sota_bench.ablations``.

A new file in ``ablations/`` is found with nothing else to edit; another package adds its own by an entry point of that
group that names a module or a package; a grid may name a local file, which is code and is loaded by that name alone.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sota_bench.errors import UserError
from sota_bench.technique import Technique

if TYPE_CHECKING:
    from sota_bench.grid.recipe import CoreRecipe

GROUP = "sota_bench.ablations"


def _modules(package: ModuleType) -> Iterable[ModuleType]:
    if not hasattr(package, "__path__"):
        yield package
        return
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        if not info.ispkg and not info.name.startswith("_"):
            name = f"{package.__name__}.{info.name}"
            yield _loaded(name, partial(importlib.import_module, name))


def _loaded(name: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except Exception as error:
        remedy = "fix or uninstall the package that provides it"
        raise UserError(name, "", f"the technique cannot be loaded ({error!r})", remedy) from error


def _declared(module: ModuleType) -> list[type[Technique]]:
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Technique) and value.__module__ == module.__name__
    ]
    return [technique for technique in classes if hasattr(technique, "card")]


LOCAL_PREFIX = "sota_bench_local_"
"""Of the module name under which a local technique file is loaded."""


def load_file(path: Path) -> ModuleType:
    """Loads a local technique file under a module name made from its path. The file may import what lies beside it.

    Raises:
        UserError: there is no such file, or it fails to load.
    """
    # Two grids may each have their own `mine.py`: the name holds a digest of the whole path.
    digest = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:8]
    name = f"{LOCAL_PREFIX}{path.resolve().stem}_{digest}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path.resolve()):
        return sys.modules[name]
    if not path.is_file():
        raise UserError(str(path), "", "there is no such technique file", "check `grid.techniques`")
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # stays: a technique may import inside its functions
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(str(path), "", f"the technique file cannot be loaded ({error!r})", "fix the file") from error
    return module


def source_name(technique: type[Technique]) -> str:
    """Where a technique is declared, for people: the name of a local file, else the module."""
    module = technique.__module__
    if not module.startswith(LOCAL_PREFIX):
        return module
    return Path(str(sys.modules[module].__file__)).name


@lru_cache
def techniques(files: tuple[Path, ...] = ()) -> dict[str, type[Technique]]:
    """All techniques by name, those whose hooks run first coming first.

    Args:
        files: local technique files that a grid names, beside the installed ones.

    Raises:
        UserError: two techniques have one name, or none is installed at all.
    """
    modules: dict[str, ModuleType] = {}
    for point in entry_points(group=GROUP):
        for module in _modules(_loaded(point.value, point.load)):
            modules[module.__name__] = module
    if not modules:
        raise UserError("sota_bench", GROUP, "no techniques are installed", "install it: python -m pip install .")
    for file in files:
        module = load_file(file)
        modules[module.__name__] = module
    by_name: dict[str, type[Technique]] = {}
    for module in modules.values():
        for technique in _declared(module):
            if technique.name in by_name:
                other = source_name(by_name[technique.name])
                problem = f"the technique is also declared in {other}"
                raise UserError(source_name(technique), technique.name, problem, "rename one of them")
            by_name[technique.name] = technique
    return dict(sorted(by_name.items(), key=lambda item: (item[1].order, item[0])))


def active(recipe: CoreRecipe, files: tuple[Path, ...] = ()) -> list[Technique]:
    """The techniques that a recipe switches on, made with it, in the order in which their hooks run."""
    return [technique(recipe) for technique in techniques(files).values() if technique.active(recipe)]


def instances(names: Iterable[str], recipe: CoreRecipe, files: tuple[Path, ...] = ()) -> list[Technique]:
    """Techniques made with a recipe, in the order of their names."""
    classes = techniques(files)
    return [classes[name](recipe) for name in names]
