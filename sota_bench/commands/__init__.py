"""The commands, one file each: a module's ``command`` is what ``sota_bench.cli`` runs. A module is loaded only when its
command is called, and imports what is heavy only where it is used."""
