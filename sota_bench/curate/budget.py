"""How many training images fit into a number of minutes per iteration, by the calibrated forecast of a training."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sota_bench.data.curated import Origin
from sota_bench.errors import UserError
from sota_bench.forecast.predict import iteration_stages
from sota_bench.forecast.predictor import Predictor
from sota_bench.grid import Grid, load
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.store import Store
from sota_bench.units import duration_text


@dataclass(frozen=True)
class Budget:
    """What an iteration may cost.

    Attributes:
        minutes: of one training and its evaluation.
        backbone, resize: of its recipe, as a grid writes them.
    """

    minutes: float
    backbone: str
    resize: str


@dataclass(frozen=True)
class Cost:
    """The predicted seconds of one iteration.

    Attributes:
        image_s: of each training image, all epochs together.
        fixed_s: of everything else: evaluation, first steps, statistics of all images.
    """

    image_s: float
    fixed_s: float

    def minutes(self, images: int) -> float:
        """Of an iteration on so many training images."""
        return (self.fixed_s + images * self.image_s) / 60


def largest_per_class(counts: Sequence[int], cost: Cost, minutes: float) -> int | None:
    """The most training images of each class with which an iteration meets a number of minutes; None where even one
    of each does not.

    Args:
        counts: training images of each class that there are.
        cost: of an iteration.
        minutes: the budget.
    """
    least, most = 0, max(counts)
    while least < most:
        middle = (least + most + 1) // 2
        if cost.minutes(sum(min(count, middle) for count in counts)) <= minutes:
            least = middle
        else:
            most = middle - 1
    return least or None


def measure(
    budget: Budget, origin: Origin, classes: Sequence[str], machine: Machine, log: Callable[[str], None]
) -> Cost:
    """The cost of an iteration on the images of some classes, from calibrations in the store or new ones.

    Raises:
        UserError: the recipe is wrong, or it cannot be measured.
    """
    with tempfile.TemporaryDirectory(prefix="sota-bench-budget-") as folder:
        grid = _grid(budget, origin, classes, Path(folder))
        plan, workers = make_plan(grid, machine)
        predictor = Predictor(Store(machine.store), log)
        predictor.calibrate(plan, workers)
        prediction = predictor.predict(plan, workers)
    trial = plan.trials[0]
    if prediction is None or any(key not in prediction.work_s for key in iteration_stages(trial)):
        reason = "; ".join(predictor.problems) or "nothing was calibrated"
        problem = f"an iteration cannot be predicted ({reason})"
        raise UserError("--minutes-per-iteration", "", problem, "use --per-class")
    growing = sum(prediction.work_s[key] - prediction.first_s[key] for key in trial.training)
    images = plan.images.subset(plan.stages[trial.training[0]].choice).sizes()["train"]
    whole = sum(prediction.work_s[key] for key in iteration_stages(trial))
    return Cost(growing / images, whole - growing)


def fit(budget: Budget, counts: Mapping[str, int], cost: Cost) -> int:
    """The images of each class that the budget allows, all of them at most.

    Args:
        budget: what is asked.
        counts: class -> training images that there are.
        cost: from :func:`measure`.

    Raises:
        UserError: one image of each class is too many.
    """
    per_class = largest_per_class(list(counts.values()), cost, budget.minutes)
    if per_class is None:
        fixed = duration_text(cost.fixed_s)
        problem = f"evaluation and start alone are predicted to take {fixed}"
        remedy = "allow more minutes, or ask for fewer --classes, a smaller --resize or another --backbone"
        raise UserError("--minutes-per-iteration", "", problem, remedy)
    return per_class


def _grid(budget: Budget, origin: Origin, classes: Sequence[str], folder: Path) -> Grid:
    """The grid of one cell whose iteration is measured."""
    data: dict[str, Any] = {"source": origin.text, "path": str(origin.path or ""), **origin.options.to_json()}
    data["classes"] = list(classes)
    recipe = {"backbone": budget.backbone, "resize": budget.resize}
    lines = ["[grid]", 'name = "budget"', "seeds = [0]", "[data]", *_toml(data), "[recipe]", *_toml(recipe)]
    file = folder / "budget.toml"
    file.write_text("\n".join([*lines, "[factors]", "fraction = [1.0]"]) + "\n", encoding="utf-8")
    try:
        return load(file)
    except UserError as error:
        option = f"--{error.key.rpartition('.')[2]}"
        raise UserError(option, "", error.problem, error.remedy) from error


def _toml(values: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in values.items()]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_text(str(name))} = {_value(part)}" for name, part in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(part) for part in value) + "]"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    """A TOML basic string: JSON's escapes are among those of TOML."""
    import json

    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
