"""``promote``: the grid that trains a cell of an ablation on the full data set, with what is known of its cost."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from sota_bench.data.counts import ImageCounts
from sota_bench.data.packed import kind_of
from sota_bench.errors import UserError
from sota_bench.forecast.combination import Combinations
from sota_bench.forecast.predict import images_of, iteration_stages
from sota_bench.forecast.predictor import Predictor
from sota_bench.grid import load
from sota_bench.grid.expand import Cell
from sota_bench.grid.explain import explain
from sota_bench.grid.grid import Grid
from sota_bench.grid.levels import level_text
from sota_bench.grid.nearest import did_you_mean
from sota_bench.grid.pretrained import HUB, located
from sota_bench.grid.recipe import CoreRecipe, fields_of
from sota_bench.grid.resize_schedule import format_schedule
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.ship.grid_file import GridFile
from sota_bench.ship.scaling import Scaled, rate_rule, scaled_batch, scaled_phases, scaled_rate
from sota_bench.stages.values import Json
from sota_bench.store import Store
from sota_bench.units import duration_text, size_text

ASPECT = 4 / 3
"""The longer over the shorter side of a photograph."""

PIXEL_BYTES = {"pixels": 3.0, "jpeg": 0.37, "none": 0.0}
"""Bytes per pixel by kind of cache; of JPEGs, the mean over 100 photographs of Imagenette at 168 px."""

BYTES_OF_TRAINING = 12
"""Of a checkpoint per parameter: fp32 weights and two moments."""


@dataclass(frozen=True)
class Wishes:
    """What the user asks for instead of the rules.

    Attributes:
        batch: images per step; None lets the rule decide.
        epochs: in all; None keeps those of the cell.
        changes: recipe field -> its value.
    """

    batch: int | None = None
    epochs: int | None = None
    changes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Production:
    """A recipe on the full data set.

    Attributes:
        recipe: complete.
        scaled: what the rules changed.
        changed: fields that the user changed.
    """

    recipe: CoreRecipe
    scaled: tuple[Scaled, ...]
    changed: Mapping[str, object]


@dataclass(frozen=True)
class Cost:
    """What one training on the full data set takes on this machine.

    Attributes:
        hours: of training and evaluation; None where the times are not calibrated.
        prepare_hours: of decoding the images once; likewise.
        disk_bytes: of decoded images and checkpoints.
        device: that the hours belong to.
    """

    hours: float | None
    prepare_hours: float | None
    disk_bytes: float
    device: str

    def sentence(self) -> str:
        """For people."""
        disk = f"about {size_text(self.disk_bytes)} on the disk"
        if self.hours is None or self.prepare_hours is None:
            return f"Expected: {disk}; the hours are unknown without a calibration (leave out --no-calibrate)."
        training, preparing = duration_text(3600 * self.hours), duration_text(3600 * self.prepare_hours)
        return f"Expected for each seed on {self.device}: {training} of training after {preparing} of decoding; {disk}."


def production(grid: Grid, cell: Cell, ablation: ImageCounts, full: ImageCounts | None, wishes: Wishes) -> Production:
    """The recipe of a cell on the full data set.

    Fields that limit the images have their defaults again. The batch grows (``scaling.scaled_batch``), the learning
    rate with it, and phases keep their shares of the epochs.

    Args:
        grid: the ablation.
        cell: whose recipe it is.
        ablation, full: sizes of the data sets; None where the full one is not known, and nothing is scaled by it.
        wishes: of the user.

    Raises:
        UserError: a wish is no valid value.
    """
    model = type(cell.recipe)
    whole = {name: model.model_fields[name].get_default(call_default_factory=True) for name in fields_of(model, "data")}
    values = {**cell.recipe.model_dump(), **whole}
    if values["weights"] and values["weights"] != HUB:
        values["weights"] = str(located(values["weights"], grid.file))
    changes = dict(wishes.changes)
    if unknown := sorted(changes.keys() - model.model_fields.keys()):
        remedy = did_you_mean(unknown[0], model.model_fields, "`python -m sota_bench list fields` shows all of them")
        raise UserError("--change", unknown[0], "there is no such recipe field", remedy)
    before = _valid(model, {**values, **changes})
    changed = {name: getattr(before, name) for name in changes if getattr(before, name) != getattr(cell.recipe, name)}
    batch = wishes.batch or (scaled_batch(before.batch_size, ablation.train, full.train) if full else before.batch_size)
    factor, scaled = batch / before.batch_size, list[Scaled]()
    if factor != 1:
        doubled = "doubled as long as an epoch keeps at least as many steps, up to 1,024"
        rule = "as asked for" if wishes.batch else doubled
        scaled.append(Scaled("batch_size", before.batch_size, batch, rule))
        if before.batch_sizes:
            larger = {size: max(2, round(own * factor)) for size, own in before.batch_sizes.items()}
            scaled.append(Scaled("batch_sizes", before.batch_sizes, larger, "as batch_size"))
        rate = scaled_rate(before.lr, before.optimizer, factor)
        scaled.append(Scaled("lr", before.lr, rate, rate_rule(before.optimizer)))
    epochs = sum(phase.epochs for phase in before.phases)
    if wishes.epochs and wishes.epochs != epochs:
        schedule = format_schedule(scaled_phases(before.phases, wishes.epochs))
        rule = "phases keep their shares of the epochs, and the learning-rate schedule its shape (Li et al. 2020)"
        scaled.append(Scaled("resize", before.resize, schedule, rule))
    recipe = _valid(model, {**before.model_dump(), **{change.field: change.after for change in scaled}})
    return Production(recipe, tuple(scaled), changed)


def _valid(model: type[CoreRecipe], values: Mapping[str, object]) -> CoreRecipe:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        name, (problem, remedy) = explain(model, error)
        raise UserError("--change", name, problem, remedy) from error


def production_file(
    grid: Grid, cell: Cell, made: Production, source: str, comments: Sequence[str], baseline: bool
) -> GridFile:
    """The grid of the production.

    Args:
        grid: the ablation.
        cell: that is promoted.
        made: its recipe.
        source: of the full data set.
        comments: for the top of the file.
        baseline: whether the baseline's levels stand beside those of the cell, where they differ.
    """
    recipe = cast(dict[str, Json], made.recipe.model_dump(mode="json"))
    first = {factor: levels[0] for factor, levels in grid.factors.items()}
    differing = [factor for factor in grid.factors if level_text(first[factor]) != level_text(cell.levels[factor])]
    levels: dict[str, tuple[Json, ...]] = {}
    if baseline:
        levels = {factor: (_json(cell.recipe, factor, first[factor]), recipe[factor]) for factor in differing}
    if not levels:
        factor = next(iter(cell.levels))
        levels = {factor: (recipe[factor],)}
    notes = {change.field: f"was {level_text(change.before)}: {change.rule}" for change in made.scaled}
    notes |= {name: f"was {level_text(getattr(cell.recipe, name))}: changed by hand" for name in made.changed}
    return GridFile(
        comments, f"{grid.name}-{cell.id}-production", grid.seeds[:1], grid.techniques, {"source": source}, recipe,
        levels, notes,
    )  # fmt: skip


def _json(recipe: CoreRecipe, name: str, value: object) -> Json:
    changed = type(recipe).model_validate({**recipe.model_dump(), name: value})
    return cast(Json, changed.model_dump(mode="json")[name])


def cost(
    grid: Grid,
    file: GridFile,
    ablation: ImageCounts,
    full: ImageCounts,
    params: int,
    machine: Machine,
    measure: bool,
    log: Callable[[str], None],
) -> Cost:
    """What the production takes, from the same training on the ablation's images: its times per image are measured on
    this machine (``forecast``), and the images are those of the full data set.

    Args:
        grid: the ablation.
        file: the grid of the production.
        ablation, full: sizes of the data sets.
        params: of the network.
        machine: where it would run.
        measure: whether times that are not known are measured.
        log: takes lines of progress.
    """
    # The full data set need not be here: the same cell, on the images of the ablation, which may be smaller.
    with tempfile.TemporaryDirectory(prefix="sota-bench-") as folder:
        path = Path(folder) / "production.toml"
        data = {name: value for name, value in grid.data.model_dump(mode="json").items() if name != "size"}
        data |= {"source": grid.source, "path": str(grid.data_path or "")}
        small = replace(file, data=data, recipe={**file.recipe, "upsample": True})
        path.write_text(small.text(), encoding="utf-8")
        plan, workers = make_plan(load(path), replace(machine, workers=1))
    predictor = Predictor(Store(machine.store), log)
    if measure:
        predictor.calibrate(plan, workers)
    prediction, combinations = predictor.predict(plan, workers), Combinations(plan, workers)
    trial, size = plan.trials[-1], plan.images.size
    images = full.train + 2 * full.select
    stored = images * size * size * ASPECT * PIXEL_BYTES[kind_of("auto", images, size)]
    disk = stored + len(trial.training) * BYTES_OF_TRAINING * params + 4 * full.select * full.classes
    device = str(plan.environment.identity["name"])
    keys = (plan.prepare.key, *iteration_stages(trial))
    if prediction is None or any(key not in prediction.stage_s for key in keys):
        return Cost(None, None, disk, device)
    ratios = {"train": full.train / ablation.train, "evaluate": full.select / ablation.select}
    ratios["prepare"] = images / (ablation.train + 2 * ablation.select)
    seconds = {}
    for key in keys:
        stage, read = plan.stages[key], images_of(plan.stages[key], combinations)
        image_s = (prediction.work_s[key] - prediction.first_s[key]) / max(1, read)
        seconds[key] = prediction.stage_s[key] + (ratios.get(stage.kind, 1.0) - 1) * read * image_s
    preparing = seconds.pop(plan.prepare.key)
    return Cost(sum(seconds.values()) / 3600, preparing / 3600, disk, device)


def commands(file: Path) -> list[str]:
    """How to run the production: on one GPU, on eight of one machine, and on a Slurm cluster. A training uses one GPU,
    so more GPUs train more seeds at once, each in a store of its own."""
    run = f"python -m sota_bench run {shlex.quote(str(file))}"
    each = "--seeds {0} --store .sota_bench-{0} --out reports/production-{0}"
    on_eight = each.format("$i")
    on_cluster = each.format("$SLURM_ARRAY_TASK_ID")
    return [
        f"one GPU:            {run} --device cuda",
        f"eight GPUs:         for i in 0 1 2 3 4 5 6 7; do {run} --device cuda:$i {on_eight} & done; wait",
        f"a cluster (Slurm):  sbatch --array=0-7 --gres=gpu:1 --wrap '{run} --device cuda {on_cluster}'",
    ]
