"""Decoded images are filed by content alone: who reads which of them is said by the manifest."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab import Lab, write_images


def test_an_image_moved_to_another_class_reuses_the_decoded_images(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab", write_images(tmp_path / "images", train=6, val=4))
    lab.folder.mkdir()
    before = lab.run('resize = "32x1"\nbatch_size = 8')
    moved = lab.images / "train" / "bars" / "000.png"
    shutil.move(moved, lab.images / "train" / "discs" / "moved.png")
    after = lab.run('resize = "32x1"\nbatch_size = 8')
    assert after.stage("prepare").key == before.stage("prepare").key
    assert after.stage("train").key != before.stage("train").key
    assert after.trained().values["steps"] > 0
