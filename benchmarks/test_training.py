"""Times a training step with each technique."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from workloads import cases


@pytest.mark.parametrize("name", cases("training"))
def test_training(measured: Callable[[str], list[float]], name: str) -> None:
    """Times one workload."""
    assert min(measured(name)) > 0
