"""Minutes per iteration: calibrated on a few real steps, predicted before a run, compared with the goal, and matched
between cells. No torch here: workers run the steps, this package plans them and does the arithmetic."""
