"""Regression timing: two revisions measured in fresh processes and compared so that noise is not called a regression;
exact counts beside them; and the history of what was measured. No torch here: measuring processes import it."""
