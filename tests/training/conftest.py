"""The laboratories (``tests/lab.py``) that the tests of training share; their trainings are run once for a session."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from lab import gpu_lab, lab

__all__ = ["gpu_lab", "lab"]
