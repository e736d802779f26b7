"""The techniques that sota_bench compares, one file each, and ready grids in ``grids/``. A new file here is found by
itself; another package adds its own by the entry-point group ``sota_bench.ablations``."""
