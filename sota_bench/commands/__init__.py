"""The commands of the command line, one file each: a module's ``command`` is what ``sota_bench.cli`` runs. Each module is
loaded only when its command is called, and imports what is heavy only where it is used."""
