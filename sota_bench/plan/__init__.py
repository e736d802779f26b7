"""From recipes to a graph of stages: keys, what is done already, in which order the rest runs, and what it costs.
Never imports torch."""
