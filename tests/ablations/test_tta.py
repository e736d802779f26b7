"""Test-time augmentation: fastai's arithmetic, views of the same images in the same order, nothing trained again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab import Lab
from safetensors.numpy import load_file
from torchvision.transforms.v2 import functional as tv

from ablations import tta
from ablations.tta import CROP, average, views_of, weights_of
from sota_bench.grid.recipe import recipe_type
from sota_bench.training.evaluate import BatchViews
from sota_bench.training.images import Images

LEVELS = ("flip", "five-crop", "multi-scale", "augmented")
REFERENCE = json.loads((Path(__file__).parent.parent / "references" / "fastai_tta.json").read_text())


class Pictures:
    """A cache of pictures in memory."""

    in_memory = True

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self.pictures = pictures
        self.contents = np.array([hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures])
        self.heights, self.widths = (np.array([picture.shape[axis] for picture in pictures]) for axis in (0, 1))

    def image(self, row: int) -> np.ndarray:
        return self.pictures[row]


def views_over(pictures: list[np.ndarray], size: int = 16, crop: float = 1.0, flip: bool = True) -> BatchViews:
    rows = np.arange(len(pictures))
    images = Images(Pictures(pictures), rows, rows, torch.device("cpu"))  # type: ignore[arg-type]
    return BatchViews(images, rows, size, crop, 0.35, flip, seed=0)


def test_augmented_is_fastais_tta_on_the_same_predictions() -> None:
    plain, augmented = torch.tensor(REFERENCE["plain"]), torch.tensor(REFERENCE["augmented"])
    logits = [plain.log(), *augmented.log()]
    ours = average(logits, "probabilities", weights_of("augmented", len(logits), REFERENCE["beta"])).exp()
    torch.testing.assert_close(ours, torch.tensor(REFERENCE["tta"]), rtol=0, atol=1e-6)


def test_the_defaults_are_fastais() -> None:
    recipe: Any = recipe_type()()
    assert (recipe.tta_views, recipe.tta_beta) == (len(REFERENCE["augmented"]), REFERENCE["beta"])


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.0, 1.0], [1.0, 0.0], [0.25, 0.75]])
def test_averages_of_probabilities_and_of_logits(weights: list[float]) -> None:
    logits = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 20
    shares = torch.tensor(weights, dtype=torch.float64).view(2, 1, 1)
    mean = (torch.softmax(logits, 2) * shares).sum(0)
    torch.testing.assert_close(average(list(logits), "probabilities", weights).exp(), mean)
    torch.testing.assert_close(
        average(list(logits), "logits", weights).exp(), torch.softmax((logits * shares).sum(0), 1)
    )


def test_two_equal_views_change_nothing() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)) * 50
    for of in ("probabilities", "logits"):
        torch.testing.assert_close(average([logits, logits], of, [0.5, 0.5]), torch.log_softmax(logits, 1))


@pytest.mark.parametrize("level", LEVELS)
def test_every_view_shows_the_same_images_in_the_same_order(level: str) -> None:
    """The trap: averages over different images. Each image has one grey level, which every view must show."""
    sizes = [(40, 52), (52, 40), (33, 33), (64, 20), (20, 20)]
    pictures = [np.full((height, width, 3), 40 * i + 10, np.uint8) for i, (height, width) in enumerate(sizes)]
    found = list(views_of(level, views_over(pictures), 3))
    assert len(found) == {"flip": 2, "five-crop": 5, "multi-scale": 3, "augmented": 4}[level]
    for view in found:
        assert view.shape == (5, 3, 16, 16)
        assert view.flatten(1).min(1).values.tolist() == view.flatten(1).max(1).values.tolist()
        assert view[:, 0, 0, 0].tolist() == [10, 50, 90, 130, 170]
    weights = weights_of(level, len(found), 0.25)
    assert len(weights) == len(found)
    assert sum(weights) == pytest.approx(1)


def test_views_are_what_their_names_say() -> None:
    """Against torchvision: the mirror image, five crops of seven eighths, and zooms into the centre."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(3)]
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    views = views_over(pictures, size=32)
    plain = tv.resize(batch, [32, 32], antialias=True).float()

    first, second = views_of("flip", views, 0)
    assert torch.equal(first, plain)
    assert torch.equal(second, plain.flip(-1))

    side = round(64 * CROP)
    five = tv.five_crop(batch, [side, side])  # top left, top right, bottom left, bottom right, centre
    expected = [tv.resize(five[i], [32, 32], antialias=True).float() for i in (4, 0, 1, 2, 3)]
    for ours, theirs in zip(views_of("five-crop", views, 0), expected, strict=True):
        assert torch.equal(ours, theirs)

    for ours, side in zip(views_of("multi-scale", views, 0), (64, 54, 45), strict=True):
        assert torch.equal(ours, tv.resize(tv.center_crop(batch, [side, side]), [32, 32], antialias=True).float())


def test_random_views_differ_from_each_other_and_come_again() -> None:
    rng = np.random.default_rng(0)
    views = views_over([rng.integers(0, 256, (40, 52, 3), dtype=np.uint8) for _ in range(4)])
    assert torch.equal(views.augmented(0), views.augmented(0))
    assert not torch.equal(views.augmented(0), views.augmented(1))


def test_an_images_random_views_do_not_depend_on_the_rest_of_its_batch() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (40, 52, 3), dtype=np.uint8) for _ in range(6)]
    together, alone = views_over(pictures).augmented(0), views_over(pictures[4:]).augmented(0)
    assert torch.equal(together[4:], alone)
    assert not torch.equal(together[4], together[5])


def test_random_views_are_not_mirrored_where_the_training_was_not() -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 6, dtype=np.uint8)[None, :, None], (40, 40, 3)).copy()
    rising = [
        bool((view[0, 0].diff(dim=1) >= 0).all())
        for flip in (True, False)
        for view in [views_over([ramp], flip=flip).augmented(number) for number in range(40)]
    ]
    assert all(rising[40:])
    assert 10 <= sum(rising[:40]) <= 30


def test_an_unknown_level_is_refused_and_switches_are_read() -> None:
    recipe = recipe_type()
    assert [recipe(tta=value).tta for value in (False, True)] == ["off", "flip"]  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="tta"):
        recipe(tta="ten-crop")
    with pytest.raises(ValueError, match="tta"):
        recipe(tta=0)
    assert not tta.TestTimeAugmentation.active(recipe())


@pytest.fixture(scope="module")
def ran(lab: Lab) -> Any:
    return lab.run("eval_batch_size = 5", f"tta = {json.dumps(['off', *LEVELS])}")


def test_one_training_serves_every_level(ran: Any) -> None:
    assert sum(stage.kind == "train" for stage in ran.plan.stages.values()) == 1
    assert len({trial.training for trial in ran.plan.trials}) == 1


def test_stored_predictions_are_of_the_same_images(ran: Any) -> None:
    """Labels and order agree, views move the predictions a little, and each level reports its latency."""
    plain = load_file(str(ran.folders[ran.plan.trials[0].final.key] / "predictions.safetensors"))
    for trial in ran.plan.trials[1:]:
        stored = load_file(str(ran.folders[trial.final.key] / "predictions.safetensors"))
        assert stored["labels"].tolist() == plain["labels"].tolist()
        np.testing.assert_allclose(np.exp(stored["log_probabilities"]).sum(1), 1, atol=1e-5)
        assert not np.array_equal(stored["log_probabilities"], plain["log_probabilities"])
        assert ran.evaluated(trial.final)["latency_ms"] > 0


def test_evaluation_with_flip_is_the_mean_of_both_sides_by_hand(ran: Any, lab: Lab) -> None:
    from PIL import Image

    from sota_bench.data.subset import choose
    from sota_bench.training.loaded import load_network

    folder = ran.checkpoint()
    model, found = load_network(folder, 32, "main", torch.device("cpu"))
    mean, std = (found.techniques["normalization"][key].float().view(3, 1, 1) for key in ("mean", "std"))
    data = ran.plan.images
    choice = data.choice(ran.trial.trial.cell.recipe, "main")
    rows = choose(data.manifest, **choice.arguments()).rows["select"]
    paths = data.manifest.items["path"].iloc[rows]
    probabilities = []
    for path in paths:
        picture = torch.from_numpy(np.array(Image.open(lab.images / path))).permute(2, 0, 1)
        square = tv.resize(tv.center_crop(picture, [40, 40]), [32, 32], antialias=True).float()
        with torch.no_grad():
            both = [model(((view - mean) / std)[None]) for view in (square, square.flip(-1))]
        probabilities.append(sum(logits.softmax(1) for logits in both) / 2)
    flip = ran.plan.trials[1].final
    stored = load_file(str(ran.folders[flip.key] / "predictions.safetensors"))
    np.testing.assert_allclose(np.exp(stored["log_probabilities"]), torch.cat(probabilities).numpy(), atol=2e-5)


def test_scores_do_not_depend_on_the_size_of_batches(lab: Lab) -> None:
    ran = lab.run('tta = "augmented"', "eval_batch_size = [250, 1, 5]")
    all_at_once, *others = (
        load_file(str(ran.folders[trial.final.key] / "predictions.safetensors"))["log_probabilities"]
        for trial in ran.plan.trials
    )
    for scores in others:
        np.testing.assert_allclose(scores, all_at_once, atol=1e-5)


def test_a_vision_transformer_takes_every_level(lab: Lab) -> None:
    ran = lab.run('backbone = "test_vit"', f"tta = {json.dumps(['off', *LEVELS])}")
    for trial in ran.plan.trials:
        assert np.isfinite(ran.evaluated(trial.final)["nll"])
