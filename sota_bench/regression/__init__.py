"""Is a repository still as fast as it was? Compares two of its revisions in fresh processes, compares exact counts, and
keeps the history of what was measured. Works on any repository with a suite of workloads, see ``measure.py``. No torch
here: the measuring processes import it."""
