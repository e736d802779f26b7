"""Evaluation: what it stores is what it reports, in order, whatever the size of its batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab import Lab
from safetensors.numpy import load_file

from sota_bench import metrics
from sota_bench.data.manifest import Manifest
from sota_bench.data.subset import choose
from sota_bench.plan.plan import Evaluation
from sota_bench.training import checkpoint
from sota_bench.training.images import LUMINANCE, Images
from sota_bench.training.loaded import load_network, read_once


def predictions(ran: Any, evaluation: Evaluation | None = None) -> dict[str, np.ndarray]:
    return load_file(str(ran.folders[(evaluation or ran.trial.final).key] / "predictions.safetensors"))


def test_the_report_is_that_of_the_stored_predictions(lab: Lab) -> None:
    ran = lab.run()
    stored = predictions(ran)
    np.testing.assert_allclose(np.exp(stored["log_probabilities"]).sum(1), 1, atol=1e-5)
    values = ran.evaluated()
    for name, value in metrics.summarize(stored["log_probabilities"], stored["labels"]).items():
        assert values[name] == value, name


def test_the_size_of_batches_does_not_change_a_prediction(lab: Lab) -> None:
    """One by one, with a last batch of another size, all at once."""
    ran = lab.run(factors="eval_batch_size = [250, 1, 3, 16]")
    all_at_once = predictions(ran)
    for trial in ran.plan.trials[1:]:
        stored = predictions(ran, trial.final)
        np.testing.assert_allclose(stored["log_probabilities"], all_at_once["log_probabilities"], atol=1e-5)
        assert stored["labels"].tolist() == all_at_once["labels"].tolist()


@pytest.mark.parametrize("tta", ["off", "flip"])
def test_a_batch_in_parts_gives_the_same_predictions(
    lab: Lab, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, tta: str
) -> None:
    ran = lab.run(f'tta = "{tta}"')
    whole, stage = predictions(ran), ran.plan.stages[ran.trial.final.key]
    monkeypatch.setattr("sota_bench.training.evaluate.CPU_PART", 3)
    again = Lab(tmp_path, lab.images, folders=dict(lab.folders))
    again.run_stage(stage)
    stored = load_file(str(again.folders[stage.key] / "predictions.safetensors"))
    assert len(whole["labels"]) > 3
    np.testing.assert_allclose(stored["log_probabilities"], whole["log_probabilities"], atol=1e-5)


def test_evaluating_twice_gives_the_same_bits(lab: Lab, tmp_path: Any) -> None:
    ran = lab.run()
    stage = ran.plan.stages[ran.trial.final.key]
    again = Lab(tmp_path, lab.images, folders=dict(lab.folders))
    again.run_stage(stage)
    first, second = predictions(ran), load_file(str(again.folders[stage.key] / "predictions.safetensors"))
    assert np.array_equal(first["log_probabilities"], second["log_probabilities"])


def test_the_labels_are_those_of_the_select_split(lab: Lab) -> None:
    ran = lab.run()
    stage = ran.plan.stages[ran.trial.final.key]
    subset = choose(Manifest.load(stage.context.manifest), **stage.choice.arguments())  # type: ignore[union-attr]
    assert predictions(ran)["labels"].tolist() == subset.targets("select").tolist()


def test_a_part_of_the_central_crop_is_a_setting(lab: Lab) -> None:
    ran = lab.run(factors="eval_crop = [1.0, 0.875]")
    assert len({trial.training for trial in ran.plan.trials}) == 1
    whole, part = (predictions(ran, trial.final)["log_probabilities"] for trial in ran.plan.trials)
    assert not np.array_equal(whole, part)


def test_a_checkpoint_that_was_made_again_at_the_same_place_is_read_anew(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    for value in (1.0, 2.0):
        if folder.exists():
            folder.rename(tmp_path / "damaged")
        folder.mkdir()
        model = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(model.weight, value)
        weights = checkpoint.Weights(model.state_dict(), {})
        checkpoint.write(folder, checkpoint.Checkpoint({}, weights, {}, {}, {}, {}))
        assert read_once(folder).weights.model["weight"].item() == value


def test_batch_norm_statistics_do_not_move(lab: Lab) -> None:
    ran = lab.run()
    model, _ = load_network(ran.checkpoint(), 32, "main", torch.device("cpu"))
    stored = checkpoint.read(ran.checkpoint()).weights.model
    assert all(torch.equal(value.cpu(), stored[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("count", "per_image"), [(5, 1.5 / 5), (11, 1.8 / 8), (16, 1.8 / 8), (40, 1.8 / 8)])
def test_latency_is_that_of_whole_batches_after_a_warm_up(
    monkeypatch: pytest.MonkeyPatch, count: int, per_image: float
) -> None:
    """A network whose call takes 1 s and 0.1 s for each image, and its first call 100 s more, in batches of 8."""
    from types import SimpleNamespace

    from sota_bench.training import evaluate

    clock = SimpleNamespace(now=0.0, calls=0)
    monkeypatch.setattr(evaluate.time, "perf_counter", lambda: clock.now)

    class Slow(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            clock.now += 1 + 0.1 * len(pixels) + (0 if clock.calls else 100)
            clock.calls += 1
            return pixels.mean(dim=(2, 3))

    pictures = Pictures([np.full((4, 4, 3), number, np.uint8) for number in range(count)])
    images = Images(pictures, np.arange(count), np.zeros(count, int), torch.device("cpu"))  # type: ignore[arg-type]
    recipe = SimpleNamespace(layout="channels_first", precision="fp32", eval_batch_size=8, eval_crop=1.0)
    trained = SimpleNamespace(crop_scale=1.0, flip=False)
    scores, latency = evaluate.predict(Slow(), [], images, recipe, trained, 4, 0, lambda done: None)
    assert latency == pytest.approx(per_image) and len(scores) == count


class Pictures:
    """A cache of pictures in memory."""

    in_memory = True

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self.pictures = pictures
        self.heights, self.widths = (np.array([picture.shape[axis] for picture in pictures]) for axis in (0, 1))

    def image(self, row: int) -> np.ndarray:
        return self.pictures[row]


def test_luminance_is_pillows() -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    rows = np.arange(1)
    images = Images(Pictures([picture]), rows, rows, torch.device("cpu"), in_chans=1)  # type: ignore[arg-type]
    batch = images.batch(rows, np.array([[0, 0, 16, 16]]), np.array([False]), 16)
    assert batch.shape == (1, 1, 16, 16)
    assert sum(LUMINANCE) == pytest.approx(1)
    theirs = np.asarray(Image.fromarray(picture).convert("L"), np.float32)
    assert np.abs(batch[0, 0].numpy() - theirs).max() <= 1


def test_a_batch_follows_its_positions() -> None:
    pictures = [np.full((20 + i, 30, 3), 10 * i, np.uint8) for i in range(8)]
    rows = np.array([7, 0, 3, 5])
    images = Images(Pictures(pictures), rows, np.arange(4), torch.device("cpu"))  # type: ignore[arg-type]
    positions = np.array([3, 0, 2])
    boxes = np.tile([0, 0, 20, 20], (3, 1))
    batch = images.batch(positions, boxes, np.zeros(3, dtype=bool), 8)
    assert batch[:, 0, 0, 0].tolist() == [50, 70, 30]
    assert images.labels[torch.from_numpy(positions)].tolist() == [3, 0, 2]
