"""The schedules of a grid that compares at equal cost, said while they are found."""

from __future__ import annotations

from sota_bench.grid import Grid
from sota_bench.plan.machine import Machine


def matched(grid: Grid, machine: Machine, may_measure: bool) -> Grid:
    """The grid itself, or with the schedules that its ``match`` asks for.

    Args:
        grid: as written.
        machine: where it runs.
        may_measure: whether what is not known may be measured now.

    Raises:
        UserError: it is not known and may not be measured.
    """
    if grid.match == "epochs":
        return grid
    from sota_bench.commands.forecasting import say
    from sota_bench.forecast.matched import match_grid

    return match_grid(grid, machine, say, may_measure)
