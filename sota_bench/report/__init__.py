"""``collect`` reads a run from the store as tables of typed rows, ``page`` renders them and their analysis as one HTML
file; ``sections`` holds one file per question of the page. Nothing here computes statistics or words a verdict."""
