"""The laboratories (``tests/lab.py``) that the tests of training share; their trainings are run once for a session."""

from __future__ import annotations

from lab import gpu_lab, lab

__all__ = ["gpu_lab", "lab"]
