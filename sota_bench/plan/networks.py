"""Every cell's network, before anything runs: can it be made as the recipe asks, and does it take its images? Known at
once for common backbones; for others it is made, without memory, in a process of its own. Never loads torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sota_bench.grid.apart import answers
from sota_bench.grid.backbones import backbone_families, family_source, small_backbones
from sota_bench.grid.expand import Cell
from sota_bench.grid.grid import Grid
from sota_bench.grid.pretrained import HUB, located
from sota_bench.plan.code import closure
from sota_bench.plan.weights import weights_digest
from sota_bench.registry import techniques
from sota_bench.technique import Technique

MODULE = "sota_bench.training.feasibility"
DECIDES = ("backbone", "in_chans", "dropout", "drop_path")
"""Core fields that decide how a network is made."""

FEWEST_BLOCKS = 3
"""Every network has a stem, a body and a head."""

STRIDE, SMALL = 32, 96
"""A convolutional network takes every multiple of the one number of pixels from the other on: it makes images 32 times
smaller, and some add what went through fewer steps to what went through more, which needs sizes without a rest."""

SIZE_WORDS = ("img_size", "fixed_input_size", "set_input_size")
"""What the source of backbones says that are made for a size."""

Question = dict[str, Any]


def check_networks(grid: Grid) -> None:
    """Makes sure of the networks of all cells.

    Raises:
        UserError: one cannot be made, does not take a size, or is none that an active technique can work on.
    """
    known = list(techniques(grid.techniques).values())
    alike = _deciding(known)
    cells: dict[Any, Cell] = {}
    for cell in grid.cells():
        cells.setdefault(repr([getattr(cell.recipe, name) for name in alike]), cell)
    asking = [_Asking.of(grid, cell, known) for cell in cells.values() if grid.inapplicable(cell) is None]
    distinct = {one.text: one.question for one in asking if one.blocks is None and one.in_doubt()}
    said = dict(zip(distinct, _asked(list(distinct.values())), strict=True))
    for one in asking:
        answer = said.get(one.text, {})
        if "problem" in answer:
            raise grid.mistake(one.cell, answer["field"], answer["problem"], answer["remedy"])
        blocks = int(one.blocks or answer.get("blocks", 0))
        for technique in one.active:
            if blocks and (wrong := technique.network_problem(one.cell.recipe, blocks)):
                problem, _, remedy = wrong.partition("; ")
                raise grid.mistake(one.cell, technique.field, problem, remedy)


def _deciding(known: Sequence[type[Technique]]) -> list[str]:
    """The recipe fields on which all of this depends; cells that agree in them are looked at once."""
    hooks = ("backbone_arguments", "base_phases", "fine_tunes", "network_problem")
    names = dict.fromkeys((*DECIDES, "weights", "resize", "eval_size"))
    for technique in known:
        if any(_function(technique, hook) is not _function(Technique, hook) for hook in hooks):
            names |= dict.fromkeys((technique.field, *technique.settings.model_fields))
        elif technique.applies_to == "rise":
            names[technique.field] = None
    return list(names)


def _function(technique: type[Technique], hook: str) -> Any:
    method = getattr(technique, hook)
    return getattr(method, "__func__", method)


@dataclass(frozen=True)
class _Asking:
    """One cell, what decides whether its network can be made, and its blocks where they are known without asking."""

    cell: Cell
    active: Sequence[type[Technique]]
    question: Question
    text: str
    blocks: int | None

    @classmethod
    def of(cls, grid: Grid, cell: Cell, known: Sequence[type[Technique]]) -> _Asking:
        active = [technique for technique in known if technique.active(cell.recipe)]
        question = _question(grid, cell.recipe, active)
        return cls(cell, active, question, json.dumps(question, sort_keys=True), _known_blocks(question))

    def in_doubt(self) -> bool:
        """Whether something can be wrong: also where a technique would refuse the smallest network."""
        refused = (technique.network_problem(self.cell.recipe, FEWEST_BLOCKS) for technique in self.active)
        return not _surely_fine(self.question) or any(refused)


def _asked(questions: Sequence[Question]) -> list[dict[str, Any]]:
    """The answers; empty ones where torch does not answer, so that a worker will say what is wrong."""
    if not questions:
        return []
    files = {file for question in questions for file in question["files"]}
    code = [closure((MODULE,)), sorted((file, Path(file).read_text(encoding="utf-8")) for file in files)]
    return [answer or {} for answer in answers(MODULE, questions, code)]


def _question(grid: Grid, recipe: Any, active: Sequence[type[Technique]]) -> Question:
    """What decides whether a network can be made, as JSON values."""
    shaping = [
        technique
        for technique in active
        if technique.backbone_arguments is not Technique.backbone_arguments and technique.applies_to != "rise"
    ]
    names = {field for technique in shaping for field in (technique.field, *technique.settings.model_fields)}
    sizes = {recipe.eval_size: "eval_size"} if recipe.eval_size else {}
    for technique in active:
        sizes |= {phase.size: technique.field for phase in technique.base_phases(recipe)}
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


def _plain(question: Question) -> bool:
    """Whether the network is as timm makes it."""
    return not (question["weights"] or question["techniques"])


def _known_blocks(question: Question) -> int | None:
    """The blocks of a network of the short list that takes all that is asked of it; None for any other."""
    settings = question["settings"]
    row = {known.name: known for known in small_backbones()}.get(settings["backbone"])
    if row is None or not _plain(question) or (settings["drop_path"] and not row.drop_path):
        return None
    fits = all(size >= row.least and size % row.step == 0 for _, size in question["sizes"])
    return row.blocks if fits else None


def _surely_fine(question: Question) -> bool:
    """Whether nothing can be wrong: a convolutional network as timm makes it, with images of an ordinary size."""
    settings: Mapping[str, Any] = question["settings"]
    source = family_source(backbone_families().get(settings["backbone"].split(".", 1)[0], ""))
    sized = not source or any(word in source for word in SIZE_WORDS)
    odd = any(size < SMALL or size % STRIDE for _, size in question["sizes"])
    return _plain(question) and not (settings["drop_path"] or settings["dropout"] or sized or odd)
