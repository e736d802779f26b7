"""From ``RunTables`` and an ``Analysis`` to one HTML page: ``page`` renders, ``sections`` holds one file per question,
``verdicts`` puts the statistics into sentences, ``theme`` makes figures that follow light and dark."""
