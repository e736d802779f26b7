"""Which network looks at the images: one with weights that are named or at hand, else one that is trained."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sota_bench.data.find import VARIABLE
from sota_bench.errors import UserError
from sota_bench.grid.backbones import backbone_problem
from sota_bench.grid.pretrained import HUB, made_for
from sota_bench.plan.weights import SUFFIXES, weights_digest

PRETRAINED = "mobilenetv3_small_100"
"""Of timm's hub: 2.5 million parameters, 56 million multiply-adds at 224 px."""

UNTRAINED = "test_resnet"
"""Trained here where there are no weights: 0.5 million parameters."""

PROBE_SIZE = 48
"""Pixels of the images of a probe that is trained here."""

MOST_SIZE = 160
"""Pixels: a linear probe loses 2 points of accuracy between 224 px and this, at half of the time."""

WEIGHTS_FOLDER = "weights"
"""Beside the data sets in ``$SOTA_BENCH_DATA``: folders of weights in timm's format."""


@dataclass(frozen=True)
class Embedder:
    """A network and its weights.

    Attributes:
        backbone: as timm names it.
        weights: "" where there are none (a probe is trained), ``timm`` for the hub's, or a file or folder.
        digest: what identifies the weights; "" where there are none.
        size: pixels of both sides of the images that it sees.
        mean, std: per channel, in units of 0..1, that the weights were made for.
    """

    backbone: str
    weights: str
    digest: str
    size: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    @property
    def stored_size(self) -> int:
        """Pixels of the shorter side at which a probe's images are kept: its random crops are not enlarged much."""
        return 8 * math.ceil(1.25 * self.size / 8)

    @property
    def text(self) -> str:
        """In words: ``mobilenetv2_035 with the weights in DIR, at 160 px``."""
        if not self.weights:
            return f"{self.backbone}, trained on these images, at {self.size} px"
        where = "timm's weights" if self.weights == HUB else f"the weights in {Path(self.weights).name}"
        return f"{self.backbone} with {where}, at {self.size} px"


def find_embedder(weights: str, backbone: str, environ: Mapping[str, str] = os.environ) -> Embedder:
    """The network to use.

    Args:
        weights: ``timm``, a file or a folder; ``none`` for no weights; "" for those at hand: in ``$SOTA_BENCH_DATA``
            (folder ``weights``), else in the cache of timm's hub. Nothing is downloaded unless ``timm`` is written.
        backbone: a name of timm's, "" for that of the weights, or the default.
        environ: where ``SOTA_BENCH_DATA`` is looked up.

    Raises:
        UserError: there is no such backbone, or the weights cannot be used for it.
    """
    if backbone and (problem := backbone_problem(backbone)):
        raise UserError("--probe", "", *problem.split("; ", 1))
    if not weights:
        weights = _at_hand(backbone, environ)
    if weights == "none":
        return Embedder(backbone or UNTRAINED, "", "", PROBE_SIZE)
    name = backbone or (PRETRAINED if weights == HUB else _architecture(Path(weights).expanduser()))
    if not name:
        problem = f"{weights!r} does not say which backbone it is for"
        raise UserError("--weights", "", problem, "name the backbone with --probe, or give a folder with config.json")
    try:
        digest = weights_digest(weights, name, Path())
    except UserError as error:
        remedy = "give a .safetensors or weights-only .pth file, or timm's folder with config.json"
        raise UserError("--weights", "", error.problem, remedy) from error
    made = made_for(weights, name, Path())
    if made is None:
        return Embedder(name, weights, digest, MOST_SIZE)
    return Embedder(name, weights, digest, min(MOST_SIZE, made.size), made.mean, made.std)


def _at_hand(backbone: str, environ: Mapping[str, str]) -> str:
    """The smallest weights on this machine for a backbone (any where it is ""); ``none`` where there are none."""
    folder = Path(environ.get(VARIABLE) or os.devnull).expanduser() / WEIGHTS_FOLDER
    if folder.is_dir():
        named = {entry: _architecture(entry) for entry in folder.iterdir()}
        usable = [entry for entry, name in named.items() if name and backbone in ("", name)]
        if usable:
            return str(min(usable, key=lambda entry: (_weights_bytes(entry), entry.name)))
    return HUB if _in_hub_cache(backbone or PRETRAINED) else "none"


def _weights_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in SUFFIXES)


def _architecture(folder: Path) -> str:
    """The backbone that a folder of weights is for; "" where it holds none."""
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["architecture"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _in_hub_cache(backbone: str) -> bool:
    """Whether timm's weights of a backbone were downloaded before."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(backbone)
    if config is None or not config.hf_hub_id:
        return False
    return any(
        isinstance(try_to_load_from_cache(config.hf_hub_id, name), str)
        for name in ("model.safetensors", "pytorch_model.bin")
    )
