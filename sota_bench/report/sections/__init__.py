"""One file per question of the page. Each has ``section(view) -> Section | None``: None where the grid does not ask it;
``order`` holds their order."""
