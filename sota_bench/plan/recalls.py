"""Checks that the classes whose recall a grid asks about exist, before anything trains."""

from __future__ import annotations

from sota_bench.errors import UserError
from sota_bench.grid.nearest import did_you_mean
from sota_bench.plan.plan import Plan
from sota_bench.responses import response_named


def check_recalls(plan: Plan) -> None:
    """Checks a plan.

    Raises:
        UserError: no cell of the grid has a class of that name.
    """
    grid, images = plan.grid, plan.images
    asked = [name for response in grid.response if (name := response_named(response).class_name)]
    if not asked:
        return
    classes = {name for cell in grid.cells() for name in images.subset(images.choice(cell.recipe, "main")).classes}
    for name in asked:
        if name not in classes:
            remedy = did_you_mean(name, sorted(classes), f"choose among {', '.join(sorted(classes)[:12])}")
            raise UserError(str(grid.file), "grid.response", f"there is no class {name!r}", remedy)
