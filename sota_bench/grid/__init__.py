"""From ``grid.toml`` to typed recipes: load, validate, expand into cells and trials. Never imports torch."""

from sota_bench.grid.expand import Cell, Trial
from sota_bench.grid.grid import Grid
from sota_bench.grid.levels import level_text
from sota_bench.grid.loading import load
from sota_bench.grid.only import parse_only
from sota_bench.grid.resize_schedule import SizePhase, parse_schedule

__all__ = ["Cell", "Grid", "SizePhase", "Trial", "level_text", "load", "parse_only", "parse_schedule"]
