"""What travels between planning, engine, training and report: the typed records of a stage. Each kind of stage has its
parameters (``params``), what it needs beside them (``context``) and its result (``results``); ``protocol`` is how a
stage is run. Never imports torch."""
