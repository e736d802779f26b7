"""Makes ``fake_stages`` importable here and, through the module search path, in the workers."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
