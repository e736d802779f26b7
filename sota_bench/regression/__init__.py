"""Is a repository still as fast as it was? Compares two revisions in fresh processes, compares exact counts, and keeps
the history of what was measured. No torch here: measuring processes import it."""
