"""Times evaluation, plain and with TTA."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from workloads import cases


@pytest.mark.parametrize("name", cases("evaluation"))
def test_evaluation(measured: Callable[[str], list[float]], name: str) -> None:
    """Times one workload."""
    assert min(measured(name)) > 0
