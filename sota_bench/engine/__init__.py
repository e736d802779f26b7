"""Runs stages in long-lived local worker processes, survives whatever happens to them, and shows how far it is.
The driver's side never imports torch; only ``stages``, which runs inside a worker, does."""
