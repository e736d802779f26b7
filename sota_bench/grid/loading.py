"""``load``: from a grid file and options to a :class:`Grid` in which every value has been checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sota_bench import registry
from sota_bench.errors import UserError
from sota_bench.grid.backbones import backbone_problem
from sota_bench.grid.expand import MAX_TRIALS, Layout
from sota_bench.grid.explain import explain, kind_problem, shown
from sota_bench.grid.fractions import LARGEST
from sota_bench.grid.grid import Grid, layout_of
from sota_bench.grid.levels import level_text
from sota_bench.grid.nearest import did_you_mean
from sota_bench.grid.pretrained import made_for
from sota_bench.grid.read import apply_overrides, parse, read_text
from sota_bench.grid.recipe import CoreRecipe, recipe_type, scope_of
from sota_bench.grid.sources import source_labels
from sota_bench.grid.tables import PATH_SOURCES, DataTable, GridTable

Model = TypeVar("Model", bound=BaseModel)
TABLES = ("grid", "data", "recipe", "factors")


STOPPING = {"stop": "--until-decided", "budget": "--budget", "max_seeds": "--max-seeds"}
"""Keys of ``[grid]`` and the options that give them."""


def load(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    seeds: Sequence[int] | None = None,
    out: Path | None = None,
    stopping: Mapping[str, str | int] | None = None,
) -> Grid:
    """Reads and validates a grid completely; nothing is written, and nothing but named technique files is run.

    Args:
        path: the grid file.
        overrides: ``table.key=value`` options, applied before validation.
        seeds: replaces the grid's seeds (``--seeds``); those named in ``added_seeds`` stay marked.
        out: the folder of the report; ``reports/<name>`` by default.
        stopping: values of `STOPPING` that replace the grid's.

    Raises:
        UserError: anything is wrong; its one line names the file, the key and the remedy.
    """
    path = Path(path)
    text = read_text(path)
    tables = parse(text, str(path))
    written = dict.fromkeys(apply_overrides(tables, overrides), "--set")
    if stopping and isinstance(tables.setdefault("grid", {}), dict):
        tables["grid"] |= stopping
        written |= {("grid", key): STOPPING[key] for key in stopping}
    return _Reading(path, text, tables, written, tuple(overrides)).grid(seeds, out)


@dataclass(frozen=True)
class _Reading:
    """One grid file on its way to a grid."""

    path: Path
    text: str
    tables: dict[str, Any]
    written: dict[tuple[str, str], str]
    overrides: tuple[str, ...]

    def error(self, table: str, key: str, problem: str, remedy: str) -> UserError:
        source = self.written.get((table, key), str(self.path))
        return UserError(source, f"{table}.{key}" if key else table, problem, remedy)

    def grid(self, seeds: Sequence[int] | None, out: Path | None) -> Grid:
        self.check_tables()
        head = self.check("grid", GridTable, {"name": self.path.stem} | self.tables.get("grid", {}))
        first, added = self.seeds(head, seeds)
        files = self.technique_files(head)
        model = recipe_type(files)
        fields = self.tables.get("data", {})
        own = {key: value for key, value in fields.items() if key in DataTable.model_fields}
        data = self.check("data", DataTable, own)
        self.check_sources(data, own)
        written = self.recipe_values(model, files)
        factors = self.tables.get("factors", {})
        self.check_factors(model, factors)
        recipe, levels = self.levels(model, written, factors, files)
        self.check_stop(head, len(first), added)
        layout = layout_of(head.design, head.resolution, levels, model)
        seed_count = head.max_seeds if head.stop == "decided" else len(first) + len(added)
        self.check_size(head, layout, levels, seed_count)
        grid = Grid(
            **head.model_dump(exclude={"seeds", "added_seeds", "techniques", "smallest_effect", "resolution"}),
            smallest_effects=head.smallest_effects,
            resolution=layout.resolution if head.design == "fractional" else None,
            seeds=first + added,
            added_seeds=added,
            techniques=files,
            data=data,
            source=self.resolve_source(data.sources[0] if data.sources else data.source),
            sources=dict(zip(source_labels(data.sources), map(self.resolve_source, data.sources), strict=True)),
            data_path=self.resolve(data.path) if data.path else None,
            recipe=recipe,
            factors=levels,
            file=self.path,
            text=self.text,
            overrides=self.overrides,
            out=Path(out) if out is not None else Path("reports") / head.name,
        )
        grid.cells()
        self.check_effects(grid)
        return grid

    def check_effects(self, grid: Grid) -> None:
        """Raises UserError: a smallest effect of interest is set for a response that no verdict is about."""
        varied = registry.techniques(grid.techniques).values()
        claimed = {technique.card.response for technique in varied if len(grid.factors.get(technique.field, ())) > 1}
        for name in grid.smallest_effects:
            if name not in grid.response and name not in claimed:
                problem = f"the grid does not ask about {name}"
                raise self.error("grid", "smallest_effect", problem, "add it to grid.response, or leave it out here")

    def check_sources(self, data: DataTable, written: Iterable[str]) -> None:
        """Several sources are read as each is found: a key that says how one is read, or which one, has no place."""
        for key in written if data.sources else ():
            if key not in ("sources", "size"):
                what = f"it is about one data set, and data.sources names {len(data.sources)}"
                raise self.error("data", key, what, f"leave {key} out, or name one data set as data.source")

    def check_tables(self) -> None:
        for name, value in self.tables.items():
            if name not in TABLES:
                remedy = did_you_mean(name, TABLES, "the tables are " + ", ".join(f"[{table}]" for table in TABLES))
                what = "table" if isinstance(value, dict) else "table, and keys stand inside one"
                raise self.error(_key(name), "", f"there is no such {what}", remedy)
            if not isinstance(value, dict):
                raise self.error(name, "", f"{shown(value)} is not a table", f"write [{name}] on a line of its own")

    def check(self, table: str, model: type[Model], values: dict[str, Any]) -> Model:
        self.check_keys(table, values, model.model_fields)
        return self.validate(model, values, dict.fromkeys(values, table))

    def check_keys(self, table: str, values: Iterable[str], valid: Iterable[str]) -> None:
        valid = list(valid)
        for key in values:
            if key not in valid:
                raise self.error(table, _key(key), "there is no such key", self.meant(table, key, valid))

    def meant(self, table: str, key: str, valid: list[str]) -> str:
        homes = {"grid": GridTable.model_fields, "data": DataTable.model_fields, "recipe": recipe_type().model_fields}
        for home, names in homes.items():
            if key in names and home != table:
                return f"it belongs in [{home}]" + (" or [factors]" if home == "recipe" else "")
        listed = ", ".join(valid) if len(valid) <= 12 else "`python -m sota_bench list fields` shows all of them"
        return did_you_mean(key, valid, f"the keys are {listed}" if len(valid) <= 12 else listed)

    def validate(self, model: type[Model], values: dict[str, Any], home: dict[str, str]) -> Model:
        """The validated table; ``home`` says in which table each key was written."""
        for key, value in values.items():
            if problem := kind_problem(model, key, value):
                raise self.error(home.get(key, "recipe"), key, *problem)
        try:
            return model.model_validate(values)
        except ValidationError as error:
            name, problem = explain(model, error)
            raise self.error(home.get(name, "recipe"), name, *problem) from error

    def seeds(self, head: GridTable, asked: Sequence[int] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The seeds and the added seeds."""
        both = [seed for seed in head.added_seeds if seed in set(head.seeds)]
        if both:
            raise self.error("grid", "added_seeds", f"seed {both[0]} is in grid.seeds too", "name it in one of them")
        if asked is None:
            return head.seeds, head.added_seeds
        if not asked:
            raise UserError("--seeds", "", "no seed is named", "write --seeds 0,1,2")
        values = {"seeds": list(asked)}
        if problem := kind_problem(GridTable, "seeds", values["seeds"]):
            raise UserError("--seeds", "", *problem)
        try:
            chosen = GridTable.model_validate({"name": "seeds"} | values).seeds
        except ValidationError as error:
            raise UserError("--seeds", "", *explain(GridTable, error)[1]) from error
        marked = set(head.added_seeds)
        return (
            tuple(seed for seed in chosen if seed not in marked),
            tuple(seed for seed in chosen if seed in marked),
        )

    def technique_files(self, head: GridTable) -> tuple[Path, ...]:
        files = []
        for name in head.techniques:
            file = (self.path.parent / name).resolve()
            if not file.is_file():
                raise self.error("grid", "techniques", f"there is no file {name[:80]!r}", "paths start at the grid")
            files.append(file)
        return tuple(files)

    def recipe_values(self, model: type[CoreRecipe], files: tuple[Path, ...]) -> dict[str, tuple[str, Any]]:
        """Recipe field -> (the table it is written in, the value): ``[recipe]``, and ``[data]`` but its own keys."""
        choosing: set[str] = set()
        for technique in registry.techniques(files).values():
            if technique.applies_to == "data":
                choosing |= set(technique.settings_type.model_fields)
        choosing |= {field for field in model.model_fields if scope_of(model, field) == "data"}
        data, recipe = self.tables.get("data", {}), self.tables.get("recipe", {})
        self.check_keys("data", data, [*DataTable.model_fields, *sorted(choosing)])
        self.check_keys("recipe", recipe, model.model_fields)
        values = {key: ("data", value) for key, value in data.items() if key not in DataTable.model_fields}
        for key, value in recipe.items():
            if key in values:
                raise self.error("recipe", key, "it is in [data] too", "name it in one of them")
            values[key] = ("recipe", value)
        return values

    def check_factors(self, model: type[CoreRecipe], factors: dict[str, Any]) -> None:
        if not factors:
            raise self.error("factors", "", "there is nothing to compare", "name a factor, such as lr = [0.003, 0.001]")
        self.check_keys("factors", factors, model.model_fields)
        for key, levels in factors.items():
            if not isinstance(levels, list):
                raise self.error("factors", key, f"{shown(levels)} is not a list of levels", f"write {key} = [...]")
            if not levels:
                raise self.error("factors", key, "the factor has no levels", "name two or more, the baseline first")

    def levels(
        self,
        model: type[CoreRecipe],
        written: dict[str, tuple[str, Any]],
        factors: dict[str, list[Any]],
        files: tuple[Path, ...],
    ) -> tuple[CoreRecipe, dict[str, tuple[Any, ...]]]:
        """The baseline recipe, and for each factor its resolved levels."""
        raw = {key: value for key, (_, value) in written.items()}
        home = {key: table for key, (table, _) in written.items()}
        stated = self.validate(model, raw, home)
        raw |= self.defaults_for_weights(stated, raw.keys(), factors, files)
        first = {key: levels[0] for key, levels in factors.items()}
        home |= dict.fromkeys(factors, "factors")
        baseline = self.validate(model, raw | first, home)
        resolved: dict[str, tuple[Any, ...]] = {}
        for key, levels in factors.items():
            values = [getattr(self.validate(model, raw | first | {key: level}, home), key) for level in levels]
            seen: dict[str, int] = {}
            for position, value in enumerate(values, 1):
                name = level_text(value)
                if name in seen:
                    what = f"levels {seen[name]} and {position} are both {name}"
                    raise self.error("factors", key, what, "name each level once")
                seen[name] = position
            if key in raw and getattr(stated, key) != values[0]:
                table, of = written[key][0], level_text(getattr(stated, key))
                what = f"the first level is the baseline, and {table}.{key} says {of}"
                raise self.error("factors", key, what, f"put {of} first, or leave {key} out of [{table}]")
            resolved[key] = tuple(values)
        return baseline, resolved

    def defaults_for_weights(
        self, stated: CoreRecipe, written: Iterable[str], factors: dict[str, list[Any]], files: tuple[Path, ...]
    ) -> dict[str, Any]:
        """Defaults that the weights of `[recipe]` bring for fields that the grid does not name: images of the size that
        they were made for, and what each technique takes for them.

        Levels of a factor `weights` differ in that factor alone.
        """
        if not stated.weights or "weights" in factors:
            return {}
        named = {*written, *factors}
        defaults = {
            technique.field: technique.with_weights
            for technique in registry.techniques(files).values()
            if technique.with_weights is not None and technique.field not in named
        }
        backbone = factors.get("backbone", [stated.backbone])[0]
        sized = "resize" not in named and isinstance(backbone, str) and backbone_problem(backbone) is None
        made = made_for(stated.weights, backbone, self.path) if sized else None
        if made is not None:
            defaults["resize"] = " ".join(f"{made.size}x{phase.epochs}" for phase in stated.phases)
        return defaults

    def check_stop(self, head: GridTable, seeds: int, added: tuple[int, ...]) -> None:
        """Seeds that agree with a run that goes on until it is decided, where it does.

        Raises:
            UserError: they do not, or a budget is given to a run that has no use for it.
        """
        if head.stop != "decided":
            for key in ("budget", "max_seeds"):
                if self.written.get(("grid", key)) == STOPPING[key] or (key == "budget" and head.budget is not None):
                    raise self.error("grid", key, "it applies only to a run until decided",
                                     'write grid.stop = "decided" or give --until-decided')  # fmt: skip
            return
        if added:
            raise self.error("grid", "added_seeds", "a run until decided plans its seeds before the first look",
                             "leave added_seeds out")  # fmt: skip
        if head.max_seeds < seeds:
            raise self.error("grid", "max_seeds", f"{head.max_seeds} is fewer than the {seeds} seeds of the grid",
                             f"write {seeds} or more, or fewer seeds")  # fmt: skip

    def check_size(self, head: GridTable, layout: Layout, levels: dict[str, tuple[Any, ...]], seeds: int) -> None:
        if head.design != "fractional":
            for key in ("resolution", "refine"):
                if getattr(head, key):
                    what = f'grid.design is "{head.design}", and this key is for fractional designs'
                    raise self.error("grid", key, what, f'write design = "fractional", or leave {key} out')
        cells = layout.count(levels)
        if not cells:
            sizes = [len(levels[name]) for name in layout.divided(levels)]
            each = " x ".join(str(size) for size in sizes) or "no factor with two"
            what = (
                f"{len(sizes)} factors that change the training ({each} levels) have no fraction of resolution "
                f"{layout.resolution} that is smaller than the full design and has at most {2**LARGEST:,} cells"
            )
            lower = "grid.resolution = 4, or " if layout.resolution == 5 else ""
            raise self.error("grid", "design", what, f'write {lower}grid.design = "full" or "one-at-a-time"')
        trials = cells * seeds
        if trials > MAX_TRIALS:
            shown_count = f"{trials:,}" if trials < 10**15 else "far too many"
            what = f"the grid has {shown_count} trials, and {MAX_TRIALS:,} is the limit"
            raise self.error("factors", "", what, 'name fewer levels, or write grid.design = "one-at-a-time"')

    def resolve(self, written: str) -> Path:
        """A path as written in a grid: relative to the grid, or failing that to the working folder."""
        path = Path(written)
        if written.startswith("~"):
            try:
                path = path.expanduser()
            except RuntimeError as error:
                raise self.error("data", "path", f"{written[:80]!r} names no home", "write the path in full") from error
        beside = self.path.parent / path
        try:
            return (beside if beside.exists() or not path.exists() else path).absolute()
        except OSError as error:
            raise self.error("data", "path", f"{written[:80]!r} is not a path", "write a shorter one") from error

    def resolve_source(self, source: str) -> str:
        kind, colon, path = source.partition(":")
        return f"{kind}:{self.resolve(path.strip())}" if colon and kind in PATH_SOURCES else source


def _key(name: str) -> str:
    return name if name and name.isprintable() and len(name) <= 60 else repr(name[:60])
