"""The laboratory (``tests/lab.py``) that the tests of training share; its trainings are run once for a session."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from lab import Lab, write_images


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """48 training and 32 validation images of four classes."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("lab")
    return Lab(folder, write_images(folder / "images"))


@pytest.fixture(scope="session")
def gpu_lab(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The same images, trained on by a GPU."""
    return Lab(tmp_path_factory.mktemp("gpu"), lab.images, device="cuda:0")
