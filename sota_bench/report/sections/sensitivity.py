def section(view): return None
