"""Options of the suite: what is slow, what needs photographs, a GPU or a browser, and how golden files are written."""

from __future__ import annotations

import os
import shutil

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tests share the cores


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run tests that take more than 20 seconds")
    parser.addoption(
        "--write-golden", action="store_true", help="write golden files anew instead of comparing with them"
    )


@pytest.fixture
def write_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--write-golden"))


def _has_gpu() -> bool:
    if not shutil.which("nvidia-smi"):
        return False
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips = {}
    if not config.getoption("--run-slow"):
        skips["slow"] = pytest.mark.skip(reason="slow; --run-slow runs it")
    if not os.environ.get("SOTA_BENCH_DATA"):
        skips["real_data"] = pytest.mark.skip(reason="SOTA_BENCH_DATA does not name any photographs")
    if any("gpu" in item.keywords for item in items) and not _has_gpu():
        skips["gpu"] = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        for mark, skip in skips.items():
            if mark in item.keywords:
                item.add_marker(skip)
