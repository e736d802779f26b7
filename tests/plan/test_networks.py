"""Networks are made sure of before anything runs: what a worker would refuse is one line while planning."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch  # so that this process answers its questions itself
from safetensors.numpy import load_file, save_file

from sota_bench.errors import UserError
from sota_bench.grid import load
from sota_bench.grid.backbones import small_backbones
from sota_bench.grid.grid import Grid
from sota_bench.plan import networks
from sota_bench.plan.networks import check_networks
from sota_bench.technique import NetworkFacts

RISE = 'resize = "32x1 64x1"'


@pytest.fixture
def grid_of(tmp_path: Path) -> Callable[..., Grid]:
    def make(backbone: str, recipe: str = "", factors: str = "lr = [0.003, 0.001]") -> Grid:
        file = tmp_path / "grid.toml"
        file.write_text(f'[recipe]\nbackbone = "{backbone}"\n{recipe}\n[factors]\n{factors}\n')
        return load(file)

    return make


REFUSED = {
    "freezes nothing": (
        "test_resnet", f"{RISE}\nfreeze_trained = 6", 'mitigation = ["none", "freeze"]',
        r"factors\.mitigation: freeze_trained = 6 freezes nothing: this network has 6 blocks with its head; use 1 to 5",
    ),
    "freezes nothing of a network that is not on the short list": (
        "resnet34", f"{RISE}\nfreeze_trained = 7", 'mitigation = ["freeze"]',
        r"factors\.mitigation: freeze_trained = 7 freezes nothing: this network has 6 blocks",
    ),
    "freezes nothing of a shallower one": (
        "test_vit", f"{RISE}\ndepth = 0.5\nfreeze_trained = 5", 'mitigation = ["freeze"]',
        r"factors\.mitigation: freeze_trained = 5 freezes nothing: this network has 5 blocks",
    ),
    "no stochastic depth": (
        "vgg11", "", "drop_path = [0.0, 0.1]",
        r"factors\.drop_path: vgg11: does not support it; leave it out, or choose another backbone",
    ),
    "one size only": (
        "mixer_s32_224", 'resize = "64x1"', "lr = [0.1]", r"recipe\.resize: 64: MlpMixer takes 224 px and nothing else",
    ),
    "one size only, evaluated at another": (
        "mixer_s32_224", 'resize = "224x1"', "eval_size = [0, 96]",
        r"factors\.eval_size: 96: MlpMixer takes 224 px and nothing else",
    ),
    "patches": (
        "test_vit", 'resize = "72x1"', "lr = [0.1]",
        r"recipe\.resize: 72: it cannot be cut into the 16 px patches of this VisionTransformer .*; write a multiple",
    ),
    "patches of a base": (
        "test_vit", 'resize = "64x1"\nbase_resize = "40x1"', 'base = ["fixed"]',
        r"factors\.base: 40: it cannot be cut into the 16 px patches",
    ),
    "too small": (
        "test_convnext", 'resize = "8x1 64x1"', "lr = [0.1]",
        r"recipe\.resize: 8: test_convnext cannot take images of this size",
    ),
    "arguments": (
        "mobilenetv4_conv_small", "", "depth = [1.0, 0.5]",
        r"recipe\.backbone: mobilenetv4_conv_small: does not take these settings: .* has no depth_multiplier",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_worker_would_refuse(grid_of: Callable[..., Grid], kind: str) -> None:
    backbone, recipe, factors, said = REFUSED[kind]
    with pytest.raises(UserError, match=said) as caught:
        check_networks(grid_of(backbone, recipe, factors))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("backbone", "recipe", "factors"),
    [
        ("test_resnet", f"{RISE}\nfreeze_trained = 5", 'mitigation = ["none", "freeze"]'),
        ("test_resnet", 'resize = "64x1"\nfreeze_trained = 6', 'mitigation = ["none", "freeze"]'),  # is not applicable
        ("mixer_s32_224", 'resize = "224x1"', "lr = [0.1]"),
        ("densenet121", "dropout = 0.2", "lr = [0.1]"),
        ("test_vit", f"{RISE}\ndrop_path = 0.1", "width = [1.0, 0.5]"),
    ],
)
def test_what_a_worker_would_take(grid_of: Callable[..., Grid], backbone: str, recipe: str, factors: str) -> None:
    check_networks(grid_of(backbone, recipe, factors))


def test_weights_of_another_network(grid_of: Callable[..., Grid], tmp_path: Path) -> None:
    """A single file names no architecture: only its tensors tell."""
    import timm
    from safetensors.torch import save_file as save

    save(timm.create_model("test_resnet", num_classes=7).state_dict(), str(tmp_path / "own.safetensors"))
    save(timm.create_model("test_vit").state_dict(), str(tmp_path / "other.safetensors"))
    check_networks(grid_of("test_resnet", f'{RISE}\nweights = "own.safetensors"'))
    with pytest.raises(UserError, match=r"recipe\.weights: .*other.safetensors: cannot be used for test_resnet"):
        check_networks(grid_of("test_resnet", f'{RISE}\nweights = "other.safetensors"'))
    tensors = load_file(tmp_path / "own.safetensors")
    del tensors["layer2.0.conv1.weight"]
    save_file(tensors, tmp_path / "own.safetensors")
    with pytest.raises(UserError, match=r"1 of \d+ tensors are missing or of another shape, such as layer2.0.conv1"):
        check_networks(grid_of("test_resnet", f'{RISE}\nweights = "own.safetensors"'))


def test_a_process_of_its_own_answers_the_same(grid_of: Callable[..., Grid]) -> None:
    from sota_bench.training.feasibility import answer

    assert torch.get_default_device() == torch.device("cpu")
    grid = grid_of("vgg11", 'resize = "64x1"\ndrop_path = 0.1')
    query = networks._query(grid, grid.recipe, [])
    command = [sys.executable, "-m", networks.MODULE]
    done = subprocess.run(command, input=json.dumps([query]), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [answer(query)]
    assert answer(query)["field"] == "drop_path"


def test_where_torch_does_not_answer_a_worker_will(
    grid_of: Callable[..., Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "ask", lambda module, questions, code: [None] * len(questions))
    check_networks(grid_of("vgg11", "", "drop_path = [0.0, 0.1]"))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "resnet18", "resnet50"])
def test_a_network_of_the_short_list_asks_nobody(
    grid_of: Callable[..., Grid], monkeypatch: pytest.MonkeyPatch, backbone: str
) -> None:
    monkeypatch.setattr(networks, "ask", lambda *args: pytest.fail("a process was started"))
    mitigations = '["none", "freeze", "discriminative", "ewc", "low-lr", "mixed-sizes"]'
    check_networks(grid_of(backbone, 'resize = "96x2 128x1"', f"mitigation = {mitigations}\nmixup = [0.0, 0.2]"))


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "lcnet_035", "resnet10t"])
def test_the_short_list_and_torch_agree(grid_of: Callable[..., Grid], name: str) -> None:
    from sota_bench.training.feasibility import answer

    row = next(row for row in small_backbones() if row.name == name)
    for size in (row.least, row.least + row.step):
        grid = grid_of(name, f'resize = "{size}x1"\ndropout = 0.1')
        query = networks._query(grid, grid.recipe, [])
        assert answer(query) == {"blocks": row.blocks, "mixes_sizes": row.mixes_sizes}
        assert networks._known_facts(query) == NetworkFacts(row.blocks, row.mixes_sizes)


def test_planning_does_not_load_torch(tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(
        '[recipe]\nbackbone = "test_vit"\n[factors]\nresize = ["32x1 64x1", "64x2"]\ndrop_path = [0.0, 0.1]\n'
    )
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom sota_bench.grid import load\n"
        "from sota_bench.plan.networks import check_networks\n"
        f"check_networks(load(Path({str(file)!r})))\nprint(json.dumps('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False
