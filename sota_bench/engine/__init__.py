"""Runs stages in long-lived local worker processes, handles failures and kills, and shows progress.
Nothing here imports torch: a worker loads what runs a stage by its dotted name."""
