"""Every cell's network, before anything runs: can it be made as the recipe asks, and does it take its images?

For the short list of backbones this is known at once; any other network is made once, without memory, in a process of
its own. Never loads torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sota_bench.grid.backbones import small_backbones
from sota_bench.grid.expand import Cell
from sota_bench.grid.grid import Grid
from sota_bench.grid.pretrained import HUB, located
from sota_bench.grid.recipe import CoreRecipe
from sota_bench.grid.torch_queries import Answer, Query, ask
from sota_bench.plan.code import closure
from sota_bench.plan.teachers import teacher_recipe
from sota_bench.plan.weights import weights_digest
from sota_bench.registry import techniques
from sota_bench.technique import ChecksNetwork, NeedsTeacher, NetworkFacts, ShapesNetwork, Technique, TrainsBaseModel

MODULE = "sota_bench.training.feasibility"
DECIDES = ("backbone", "in_chans", "dropout", "drop_path")
"""Core fields that decide how a network is made."""


def check_networks(grid: Grid) -> None:
    """Makes sure of the networks of all cells.

    Raises:
        UserError: one cannot be made, does not take a size, or is none that an active technique can work on.
    """
    available = list(techniques(grid.techniques).values())
    fields = _deciding(available)
    cells: dict[str, Cell] = {}
    for cell in grid.cells():
        if grid.inapplicable(cell) is None:
            cells.setdefault(repr([getattr(cell.recipe, name) for name in fields]), cell)
    networks = [network for cell in cells.values() for network in (_Network.of(grid, cell), *_teachers(grid, cell))]
    unknown = {network.text: network.query for network in networks if network.facts is None}
    answers = dict(zip(unknown, _ask(list(unknown.values())), strict=True))
    for network in networks:
        answer = answers.get(network.text, {})
        if "problem" in answer:
            problem = answer["problem"]
            if network.student is not None:
                field, problem = network.student, f"its teacher cannot be: {answer['field']}: {problem}"
                raise grid.mistake(network.cell, field, problem, answer["remedy"])
            raise grid.mistake(network.cell, answer["field"], problem, answer["remedy"])
        facts = network.facts or (NetworkFacts(**answer) if answer else None)
        for technique in network.active:
            if facts and isinstance(technique, ChecksNetwork) and (text := technique.network_problem(facts)):
                problem, _, remedy = text.partition("; ")
                raise grid.mistake(network.cell, technique.field, problem, remedy)


def _deciding(available: Sequence[type[Technique]]) -> list[str]:
    """The recipe fields on which all of this depends; of cells that agree in them one is looked at."""
    names = dict.fromkeys((*DECIDES, "weights", "resize", "eval_size"))
    for technique in available:
        if issubclass(technique, ShapesNetwork | TrainsBaseModel | ChecksNetwork | NeedsTeacher):
            names |= dict.fromkeys((technique.field, *technique.settings_type.model_fields))
        elif technique.applies_to == "rise":
            names[technique.field] = None
    return list(names)


@dataclass(frozen=True)
class _Network:
    """The network of one cell.

    Attributes:
        cell: whose it is.
        active: the techniques that the cell switches on.
        query: what decides whether it can be made.
        text: the same as text.
        facts: what is known of it without asking; None where nothing is.
        student: the field of the technique whose teacher it is; None for the cell's own network.
    """

    cell: Cell
    active: Sequence[Technique]
    query: Query
    text: str
    facts: NetworkFacts | None
    student: str | None = None

    @classmethod
    def of(cls, grid: Grid, cell: Cell, student: str | None = None) -> _Network:
        switched_on = grid.active(cell.recipe)
        query = _query(grid, cell.recipe, switched_on)
        return cls(cell, switched_on, query, json.dumps(query, sort_keys=True), _known_facts(query), student)


def _teachers(grid: Grid, cell: Cell) -> Iterator[_Network]:
    """The teachers' networks of a cell.

    Raises:
        UserError: the teacher does not take a size.
    """
    for technique in grid.active(cell.recipe):
        if isinstance(technique, NeedsTeacher):
            try:
                recipe = teacher_recipe(grid, cell.recipe, technique.teacher())
            except ValidationError as error:
                problem = error.errors()[0]["msg"].removeprefix("Value error, ")
                text, _, remedy = f"its teacher cannot be: {problem}".partition("; ")
                raise grid.mistake(cell, technique.field, text, remedy or "choose another teacher") from error
            yield _Network.of(grid, replace(cell, recipe=recipe), technique.field)


def _ask(queries: Sequence[Query]) -> list[Answer]:
    """The answers; empty ones where torch does not answer, so that a worker will say what is wrong."""
    if not queries:
        return []
    files = {file for query in queries for file in query["files"]}
    code = [closure((MODULE,)), sorted((file, Path(file).read_text(encoding="utf-8")) for file in files)]
    return [answer or {} for answer in ask(MODULE, queries, code)]


def _query(grid: Grid, recipe: CoreRecipe, active: Sequence[Technique]) -> Query:
    """What decides whether a network can be made, as JSON values."""
    shaping = [
        technique for technique in active if isinstance(technique, ShapesNetwork) and technique.applies_to != "rise"
    ]
    names = {field for technique in shaping for field in (technique.field, *technique.settings_type.model_fields)}
    sizes = {recipe.eval_size: "eval_size"} if recipe.eval_size else {}
    for technique in active:
        if isinstance(technique, TrainsBaseModel):
            sizes |= {phase.size: technique.field for phase in technique.base_phases()}
    sizes |= {phase.size: "resize" for phase in recipe.phases}
    local = recipe.weights not in ("", HUB)
    return {
        "settings": recipe.model_dump(mode="json", include=names | set(DECIDES)),
        "techniques": [technique.name for technique in shaping],
        "files": [str(file) for file in grid.techniques],
        "sizes": [[field, size] for size, field in sorted(sizes.items())],
        "weights": str(located(recipe.weights, grid.file)) if local else "",
        "digest": weights_digest(recipe.weights, recipe.backbone, grid.file) if local else "",
    }


def _known_facts(query: Query) -> NetworkFacts | None:
    """What is known of a network of the short list that takes all that is asked of it; None for any other."""
    settings: dict[str, Any] = query["settings"]
    row = {backbone.name: backbone for backbone in small_backbones()}.get(settings["backbone"])
    as_timm_makes_it = not (query["weights"] or query["techniques"])
    if row is None or not as_timm_makes_it or (settings["drop_path"] and not row.drop_path):
        return None
    fits = all(size >= row.least and size % row.step == 0 for _, size in query["sizes"])
    return NetworkFacts(row.blocks, row.mixes_sizes) if fits else None
