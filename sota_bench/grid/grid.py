"""The grid, fully validated and typed, with its cells and trials."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError

from sota_bench import registry
from sota_bench.errors import UserError
from sota_bench.grid.draws import Draws, Source
from sota_bench.grid.expand import DEFAULT_RESOLUTION, Cell, Layout, Trial, identifier
from sota_bench.grid.explain import explain
from sota_bench.grid.levels import level_text
from sota_bench.grid.matched import MatchedSchedule
from sota_bench.grid.names import MAX_LENGTH
from sota_bench.grid.only import parse_only
from sota_bench.grid.recipe import CoreRecipe, scope_of
from sota_bench.grid.resize_schedule import rises
from sota_bench.grid.tables import MAX_SEED, DataTable, Design, Match, Scope, Stop
from sota_bench.technique import Technique, TrainsBaseModel, conflict


def layout_of(design: Design, resolution: int | None, factors: Iterable[str], recipe: type[CoreRecipe]) -> Layout:
    """The layout of a grid; factors that only change the evaluation are run in full in any design."""
    crossed = frozenset(name for name in factors if scope_of(recipe, name) == "evaluate")
    return Layout(design, resolution or DEFAULT_RESOLUTION, crossed)


class Grid(BaseModel):
    """A validated grid. Made by :func:`sota_bench.grid.load` only.

    Attributes:
        name: names the report's folder.
        question: free text for the top of the report.
        notes: free text for the report.
        seeds: every seed that runs, those added later last.
        added_seeds: those of ``seeds`` that were added after a look at the first ones.
        vary: what differs from seed to seed.
        design: which combinations of levels are cells.
        resolution: of a fractional design, else None.
        refine: whether the full factorial of its clear factors follows.
        minutes_per_iteration: the goal in minutes, or None.
        response: what levels are compared by; the first one ranks the cells.
        smallest_effects: response -> the smallest difference that matters, in its unit, where one is set.
        scope: what intervals and verdicts cover.
        match: what compared trainings have in common.
        stop: when a run ends: after ``seeds``, or when every comparison is decided.
        max_seeds: for the latter, the seeds of a cell at the last look.
        budget: for the latter, minutes by the clock, or None.
        techniques: local technique files, absolute.
        data: the table ``[data]`` as written.
        source: ``data.source`` with its path resolved, for ``open_source``.
        sources: of a grid on several data sets, the name of each -> its source, resolved; ``for_source`` gives the grid
            on one of them.
        data_path: ``data.path`` resolved, or None.
        recipe: the baseline: the first level of every factor.
        factors: recipe field -> its distinct levels, the baseline first.
        file: the grid file as it was named.
        text: its content as the user wrote it.
        overrides: the ``--set`` options.
        out: the folder of the report.
        schedules: cell id -> the resolution schedule that it trains instead of the one written, where cells are
            matched at equal cost or the whole grid is scaled.
        matched: cell id -> how its schedule was matched; empty where it was not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    question: str
    notes: str
    seeds: tuple[int, ...]
    added_seeds: tuple[int, ...]
    vary: tuple[Source, ...]
    design: Design
    resolution: int | None
    refine: bool
    minutes_per_iteration: float | None
    response: tuple[str, ...]
    smallest_effects: dict[str, float]
    scope: Scope
    match: Match
    stop: Stop
    max_seeds: int
    budget: float | None
    techniques: tuple[Path, ...]
    data: DataTable
    source: str
    sources: dict[str, str] = {}
    data_path: Path | None
    recipe: SerializeAsAny[CoreRecipe]
    factors: dict[str, tuple[Any, ...]]
    file: Path
    text: str
    overrides: tuple[str, ...]
    out: Path
    schedules: dict[str, str] = {}
    matched: dict[str, MatchedSchedule] = {}

    @property
    def smallest_effect(self) -> float | None:
        """The smallest difference that matters in the first response, or None."""
        return self.smallest_effects.get(self.response[0])

    @cached_property
    def layout(self) -> Layout:
        """Which combinations of levels are cells."""
        return layout_of(self.design, self.resolution, self.factors, type(self.recipe))

    @cached_property
    def _cells(self) -> tuple[Cell, ...]:
        model = type(self.recipe)
        baseline = {field: getattr(self.recipe, field) for field in model.model_fields}
        designed = list(self.layout.combinations(self.factors))
        cells = []
        for number, levels in enumerate(designed):
            name = identifier("c", number, len(designed))
            instead = {"resize": self.schedules[name]} if name in self.schedules else {}
            try:
                recipe = model.model_validate(baseline | levels | instead)
            except ValidationError as error:
                field, (problem, remedy) = explain(model, error)
                raise self._cell_error(levels, field, problem, remedy) from error
            active = self.active(recipe)
            for technique in active:
                if text := technique.problem():
                    problem, _, remedy = text.partition("; ")
                    raise self._cell_error(levels, technique.field, problem, remedy)
            if refused := conflict(tuple(type(technique) for technique in active)):
                problem, _, remedy = refused[1].partition("; ")
                raise self._cell_error(levels, refused[0].field, problem, remedy)
            cells.append(Cell(name, levels, recipe))
        return tuple(cells)

    @cached_property
    def _active(self) -> dict[int, tuple[CoreRecipe, tuple[Technique, ...]]]:
        return {}

    def active(self, recipe: CoreRecipe) -> tuple[Technique, ...]:
        """The techniques that a recipe switches on, made with it, in the order of their hooks; made once for each."""
        entry = self._active.get(id(recipe))
        if entry is None:
            entry = recipe, tuple(registry.active(recipe, self.techniques))
            self._active[id(recipe)] = entry  # holding the recipe keeps its id from being given to another
        return entry[1]

    def _cell_error(self, levels: dict[str, Any], field: str, problem: str, remedy: str) -> UserError:
        key = f"factors.{field}" if field in levels else f"recipe.{field}" if field else "factors"
        where = ", ".join(f"{factor} = {level_text(level)}" for factor, level in levels.items() if factor != field)
        return UserError(str(self.file), key, problem + (f" (in the cell {where})" if where else ""), remedy)

    def mistake(self, cell: Cell, field: str, problem: str, remedy: str) -> UserError:
        """What is wrong with a cell, as the one line that names the file, the key and the remedy."""
        return self._cell_error(dict(cell.levels), field, problem, remedy)

    def cells(self) -> tuple[Cell, ...]:
        """Every cell of the design, in a stable order; two cells never have the same recipe."""
        return self._cells

    @cached_property
    def baseline_cell(self) -> Cell | None:
        """The cell with the first level of every factor; None where the design has no such cell (``leave-one-out``
        with two factors or more)."""
        first = {factor: levels[0] for factor, levels in self.factors.items()}
        return next((cell for cell in self.cells() if cell.levels == first), None)

    def varied(
        self,
        fields: Mapping[str, Any] | None = None,
        schedules: Mapping[str, str] | None = None,
        matched: Mapping[str, MatchedSchedule] | None = None,
    ) -> Grid:
        """The same grid with other values of fields that are no factors, or with other schedules.

        Args:
            fields: recipe field -> its value in every cell.
            schedules: cell id -> its schedule; cells that are not named keep theirs.
            matched: how the schedules were matched.

        Raises:
            UserError: a value is wrong, or the field is a factor.
        """
        model, changes = type(self.recipe), dict(fields or {})
        for field in changes.keys() & self.factors.keys():
            raise UserError(str(self.file), f"factors.{field}", "it is a factor", "leave it out of [factors]")
        kept = {field: getattr(self.recipe, field) for field in model.model_fields}
        try:
            recipe = model.model_validate(kept | changes)
        except ValidationError as error:
            field, (problem, remedy) = explain(model, error)
            raise UserError(str(self.file), f"recipe.{field}", problem, remedy) from error
        values = {name: getattr(self, name) for name in type(self).model_fields}
        values |= {"recipe": recipe, "schedules": {**self.schedules, **(schedules or {})}}
        return Grid(**values | {"matched": dict(matched or self.matched)})

    def with_seeds(self, seeds: Sequence[int]) -> Grid:
        """The same grid with other seeds, none of them added after a look."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return Grid(**values | {"seeds": tuple(seeds), "added_seeds": ()})

    @property
    def further_seeds(self) -> Iterator[int]:
        """The seeds that follow those of the grid, for runs that need more of them: each once, in a fixed order."""
        used = set(self.seeds)
        after = range(max(used) + 1, MAX_SEED + 1)
        return (seed for seed in chain(after, range(max(used))) if seed not in used)

    def for_source(self, label: str) -> Grid:
        """The grid on one of its data sets, with a name and a folder of its own.

        Args:
            label: a key of ``sources``.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        written = dict(zip(self.sources, self.data.sources, strict=True))[label]
        values |= {
            "name": f"{self.name[: MAX_LENGTH - len(label) - 1]}-{label}",
            "data": self.data.model_copy(update={"source": written, "sources": ()}),
            "source": self.sources[label],
            "sources": {},
            "out": self.out / label,
        }
        return Grid(**values)

    def as_matched(self, matched: Mapping[str, MatchedSchedule]) -> Grid:
        """The grid with schedules that were matched before; itself where none were."""
        schedules = {cell: matching.schedule for cell, matching in matched.items()}
        return self.varied(schedules=schedules, matched=matched) if matched else self

    def draws(self, seed: int) -> Draws:
        """The seed of each source of chance in the trials of one seed."""
        return Draws.of(seed, self.vary)

    def trials(self) -> tuple[Trial, ...]:
        """Every cell with every seed: the cells in order, the seeds of a cell together."""
        return tuple(Trial(f"{cell.id}-s{seed}", cell, seed) for cell in self.cells() for seed in self.seeds)

    def inapplicable(self, cell: Cell) -> str | None:
        """Why this cell is not data, or None: a technique for the rise of resolution is on and nothing rises.

        Fine-tuning a base model counts as a rise.
        """
        recipe = cell.recipe
        active = self.active(recipe)
        if rises(recipe.phases) or any(isinstance(technique, TrainsBaseModel) for technique in active):
            return None
        for technique in active:
            if technique.applies_to == "rise":
                level = level_text(getattr(recipe, technique.field))
                return f"{technique.field} = '{level}' needs a rise of resolution"
        return None

    def only(self, expression: str) -> tuple[Trial, ...]:
        """The trials that an ``--only`` expression selects (see :func:`sota_bench.grid.parse_only`).

        Raises:
            UserError: the expression names a factor, level or seed that the grid does not have, or selects nothing.
        """
        levels = {factor: [level_text(level) for level in values] for factor, values in self.factors.items()}
        levels["seed"] = [str(seed) for seed in self.seeds]
        selected = parse_only(expression, levels, self._same_level)
        trials = tuple(trial for trial in self.trials() if selected(trial.cell.text | {"seed": str(trial.seed)}))
        if not trials:
            raise UserError("--only", "", f"{expression[:80]!r} selects no trial", "select more levels or seeds")
        return trials

    def _same_level(self, factor: str, written: str) -> str:
        """A level as somebody writes it (``0``, ``false``, ``64x3,128x2``) in its canonical text where it is valid."""
        if factor not in self.factors:
            return written
        model = type(self.recipe)
        baseline = {field: getattr(self.recipe, field) for field in model.model_fields}
        candidates: list[Any] = [written]
        if written in ("true", "false"):
            candidates.append(written == "true")
        for candidate in candidates:
            try:
                return level_text(getattr(model.model_validate(baseline | {factor: candidate}), factor))
            except ValidationError:
                continue
        return written

    def resolved(self) -> dict[str, Any]:
        """The grid as JSON values, for ``run.json`` and the report."""
        return {
            "name": self.name,
            "question": self.question,
            "notes": self.notes,
            "seeds": list(self.seeds),
            "added_seeds": list(self.added_seeds),
            "vary": list(self.vary),
            "design": self.design,
            "resolution": self.resolution,
            "refine": self.refine,
            "minutes_per_iteration": self.minutes_per_iteration,
            "response": list(self.response),
            "smallest_effect": self.smallest_effect,
            "smallest_effects": self.smallest_effects,
            "scope": self.scope,
            "match": self.match,
            "stop": self.stop,
            "max_seeds": self.max_seeds,
            "budget": self.budget,
            "techniques": [file.name for file in self.techniques],
            "data": self.data.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json"),
            "factors": {factor: [level_text(level) for level in levels] for factor, levels in self.factors.items()},
            "overrides": list(self.overrides),
            "matched": {cell: matching.to_json() for cell, matching in self.matched.items()},
        }
