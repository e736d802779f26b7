"""Normalization: statistics equal to numpy's, applied exactly once, and never apart from the weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from lab import Lab, draw, save_manifest, write_images
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.transforms.v2 import functional as tv

from ablations import normalization
from ablations.normalization import Normalization, normalize
from sota_bench.grid import load
from sota_bench.grid.recipe import recipe_type
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan
from sota_bench.training import checkpoint

LEVELS = ("none", "unit", "symmetric", "dataset", "pretrained")


def training_pixels(images: Path) -> np.ndarray:
    """All training pixels float64 [P, 3], by numpy alone."""
    files = sorted((images / "train").rglob("*.png"))
    return np.concatenate([np.asarray(Image.open(file).convert("RGB"), np.float64).reshape(-1, 3) for file in files])


def stored(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    state = checkpoint.read(folder).techniques["normalization"]
    return state["mean"].numpy(), state["std"].numpy()


def test_the_function_equals_torchvisions() -> None:
    images = torch.rand(2, 3, 5, 7) * 255
    mean, std = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([60.0, 61.0, 62.0])
    torch.testing.assert_close(normalize(images, mean, std), tv.normalize(images, mean.tolist(), std.tolist()))


def test_statistics_of_the_data_set_equal_numpys(lab: Lab) -> None:
    pixels = training_pixels(lab.images)
    mean, std = stored(lab.run().checkpoint())
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(std, pixels.std(0), rtol=0, atol=1e-6)


def test_statistics_of_luminance_equal_numpys(lab: Lab) -> None:
    grey = training_pixels(lab.images) @ [0.299, 0.587, 0.114]
    ran = lab.run("in_chans = 1")
    mean, std = stored(ran.checkpoint())
    np.testing.assert_allclose([mean, std], [[grey.mean()], [grey.std()]], rtol=0, atol=1e-6)
    seen = ran.trained().values["input"]
    assert abs(seen["mean"][0]) < 0.3
    assert 0.7 < seen["std"][0] < 1.3
    first = checkpoint.read(ran.checkpoint()).weights.model["conv1.0.weight"]
    assert first.shape[1] == 1
    assert np.isfinite(ran.evaluated()["nll"])


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_files(tmp_path: Path, channels: int) -> None:
    """Files with one channel: three equal ones, or that channel itself."""

    def grey(label: int, rng: np.random.Generator) -> np.ndarray:
        return draw(label, rng)[:, :, 0]

    lab = Lab(tmp_path, write_images(tmp_path / "images", 4, 4, grey))
    pixels = training_pixels(lab.images)[:, 0]
    mean, std = stored(lab.run(f"in_chans = {channels}").checkpoint())
    np.testing.assert_allclose(mean, [pixels.mean()] * channels, rtol=0, atol=1e-6)
    np.testing.assert_allclose(std, [pixels.std()] * channels, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("colour", "channels", "constant"),
    [((1, 1, 0), 3, ["blue"]), ((0, 0, 0), 3, ["red", "green", "blue"]), ((0, 0, 0), 1, ["luminance"])],
)
def test_a_channel_that_is_the_same_everywhere_becomes_0(
    tmp_path: Path, colour: tuple[int, int, int], channels: int, constant: list[str]
) -> None:
    """It was divided by its deviation, 0: every training was NaN, and a smaller learning rate was advised."""

    def drawn(label: int, rng: np.random.Generator) -> np.ndarray:
        varies = np.array(colour, np.uint8)
        picture = draw(label, rng) * varies + np.uint8(37) * (1 - varies)
        return picture[: rng.integers(30, 40), : rng.integers(40, 52)]  # equal files would be left out

    ran = Lab(tmp_path, write_images(tmp_path / "images", 4, 4, drawn)).run(f"in_chans = {channels}")
    values = ran.trained().values
    assert values["techniques"]["normalization"]["constant_channels"] == constant
    assert np.isfinite(ran.evaluated()["nll"])
    for seen, name in zip(values["input"]["mean"], normalization.CHANNELS[channels], strict=True):
        if name in constant:
            assert seen == pytest.approx(0, abs=1e-3)
    assert (stored(ran.checkpoint())[1] > 0).all()


def test_only_the_level_that_looks_at_the_data_names_constant_channels(lab: Lab) -> None:
    for level in LEVELS:
        values = lab.run(f'normalize = "{level}"\ncrop_scale = 1.0').trained().values
        assert "constant_channels" not in values["techniques"]["normalization"]


def test_other_numbers_of_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="in_chans"):
        recipe_type()(in_chans=2)


@pytest.mark.parametrize("level", LEVELS)
def test_what_the_network_sees(lab: Lab, level: str) -> None:
    """Once, at every level: the moments of the first batch are those of one normalization."""
    values = lab.run(f'normalize = "{level}"\ncrop_scale = 1.0').trained().values
    pixels = training_pixels(lab.images)
    config = timm.get_pretrained_cfg("test_resnet")
    mean, std = {
        "none": (0.0, 1.0),
        "unit": (0.0, 255.0),
        "symmetric": (127.5, 127.5),
        "dataset": (pixels.mean(0), pixels.std(0)),
        "pretrained": (255 * np.array(config.mean), 255 * np.array(config.std)),
    }[level]
    shown = values["techniques"]["normalization"]
    np.testing.assert_allclose(shown["mean"], np.broadcast_to(mean, 3), atol=1e-4)
    np.testing.assert_allclose(shown["std"], np.broadcast_to(std, 3), atol=1e-4)
    first_batch = np.array(values["input"]["mean"]) * std + mean  # undone once: grey levels again
    np.testing.assert_allclose(first_batch, pixels.mean(0), atol=15)


@pytest.mark.parametrize("level", LEVELS)
def test_it_is_applied_once_in_each_forward_pass(lab: Lab, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    calls: list[int] = []

    def counted(images: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return normalize(images, mean, std)

    monkeypatch.setattr(normalization, "normalize", counted)
    ran = lab.run(f'normalize = "{level}"\nresize = "32x1 40x1"\nlr = 0.0021', 'tta = ["off"]')
    judged = len(load_file(ran.folders[ran.trial.final.key] / "predictions.safetensors")["labels"])
    training, evaluating = 2 * [16, 16, 16], [8, judged]  # 8 images warm an evaluation of one batch up
    assert calls == training + 4 * evaluating


def test_statistics_come_from_the_training_split_of_the_trial(lab: Lab) -> None:
    """Half of the images, other statistics; the other splits have no part in them."""
    plan = lab.plan('normalize = "dataset"', data="fraction = 0.5")
    stage = next(stage for stage in plan.stages.values() if stage.kind == "statistics")
    assert stage.params.data.split == "train"
    ran = lab.run('normalize = "dataset"', data="fraction = 0.5")
    assert ran.outcomes[ran.stage("statistics").key].values["images"] == 24
    assert stored(ran.checkpoint())[0].tolist() != stored(lab.run().checkpoint())[0].tolist()


def test_one_statistics_stage_serves_all_trials_and_seeds(lab: Lab) -> None:
    plan = lab.plan(factors="mixup = [0.0, 0.2]\nresize = ['32x1', '32x1 40x1']", seeds=(0, 1, 2))
    assert sum(stage.kind == "statistics" for stage in plan.stages.values()) == 1


def test_the_statistics_travel_with_the_weights_into_fine_tuning(lab: Lab) -> None:
    """A base model's statistics, from other classes, stay with it: fine-tuning does not shift its inputs."""
    ran = lab.run('base = "fixed"\nbase_resize = "32x1"')
    (stage,) = (stage for stage in ran.plan.stages.values() if stage.kind == "statistics")  # of the base, and no other
    assert list(stage.choice.classes) == checkpoint.read(ran.checkpoint(0)).metadata["classes"]
    assert [phase.task for phase in ran.trial.phases] == ["base", "main"]
    base, main = stored(ran.checkpoint(0)), stored(ran.checkpoint(-1))
    assert base[0].tolist() == main[0].tolist()
    assert base[1].tolist() == main[1].tolist()


def test_pretrained_reads_the_folder_of_the_weights(lab: Lab, tmp_path: Path) -> None:
    model = timm.create_model("test_resnet", num_classes=4)
    config = {"architecture": "test_resnet", "num_classes": 4, "pretrained_cfg": {
        **{key: value for key, value in model.pretrained_cfg.items() if key in ("classifier", "first_conv")},
        "input_size": [3, 32, 32], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "num_classes": 4,
    }}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), str(tmp_path / "model.safetensors"))
    for channels, mean, std in ((3, [25.5, 51.0, 76.5], [102.0, 127.5, 153.0]), (1, [51.0], [127.5])):
        ran = lab.run(f'weights = "{tmp_path}"\nnormalize = "pretrained"\nin_chans = {channels}')
        np.testing.assert_allclose(stored(ran.checkpoint()), [mean, std], rtol=1e-9)


def test_a_state_that_is_taken_back_is_the_same_to_the_last_bit() -> None:
    recipe = recipe_type()(normalize="dataset")
    first, second = Normalization(recipe), Normalization(recipe)
    rng = np.random.default_rng(0)
    first.load_state({key: torch.from_numpy(rng.random(3) * 255) for key in ("mean", "std")})
    second.load_state(first.state())
    assert (first.mean, first.std) == (second.mean, second.std)


@pytest.mark.real_data
def test_statistics_of_photographs(tmp_path: Path) -> None:
    """Imagenette's as fast.ai publishes them, in grey levels: 0.465, 0.458, 0.429 and 0.285, 0.280, 0.301 of 255."""
    file = tmp_path / "grid.toml"
    file.write_text(
        '[grid]\nseeds = [0]\n[data]\nsource = "imagenette"\nper_class = 30\neval_images = 10\n'
        '[recipe]\nbackbone = "test_resnet"\n[factors]\nresize = ["64x1"]\n'
    )
    plan, _ = make_plan(load(file), Machine(tmp_path / "store", "cpu", 2))
    save_manifest(plan, tmp_path / "store")
    ran = Lab(tmp_path, tmp_path).run_plan(plan)
    mean, std = stored(ran.checkpoint())
    np.testing.assert_allclose(mean / 255, [0.465, 0.458, 0.429], atol=0.03)
    np.testing.assert_allclose(std / 255, [0.285, 0.280, 0.301], atol=0.03)
    seen = ran.trained().values["input"]
    np.testing.assert_allclose(seen["mean"], 0, atol=0.2)
    np.testing.assert_allclose(seen["std"], 1, atol=0.2)
