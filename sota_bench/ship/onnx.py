"""``model.onnx``: the network with its normalization inside, checked against torch. Needs the extra ``onnx``."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from sota_bench.errors import UserError
from sota_bench.ship.bundle import ONNX, Bundle, Preprocessing

CHECKED_BATCHES = (1, 2, 7)
LARGEST_DIFFERENCE = 1e-3
"""Of a logit, between ONNX Runtime and torch, both in fp32."""


class NormalizedNetwork(nn.Module):
    """Pixels to logits: float32 [B, C, size, size] in grey levels 0 to 255, to float32 [B, K]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, images: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(images.mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(images.std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def session(file: Path) -> Any:
    """An ONNX Runtime session of a file, on the CPU.

    Raises:
        UserError: ONNX Runtime is not installed, or it cannot open the file.
    """
    require("onnxruntime")
    runtime = importlib.import_module("onnxruntime")
    try:
        return runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # of ONNX Runtime's own types
        problem = f"ONNX Runtime cannot open it ({' '.join(str(error).split())[:200]})"
        raise UserError(str(file), "", problem, "export again with --onnx") from error


def export_onnx(bundle: Bundle) -> float:
    """Writes ``model.onnx`` into a bundle, for any batch size, with torch's exporter.

    Returns:
        The largest absolute difference of a logit between ONNX Runtime and torch, over several batch sizes.

    Raises:
        UserError: the extra is not installed, the network cannot be exported, or its logits differ.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package)
    images, file = bundle.preprocessing, bundle.folder / ONNX
    network = timm.create_model(f"local-dir:{bundle.folder}", pretrained=True)
    model = NormalizedNetwork(network, images).eval()
    shape = (images.channels, images.size, images.size)
    example = torch.rand(2, *shape) * 255
    try:
        torch.onnx.export(
            model, (example,), str(file), dynamo=True, verbose=False, external_data=False, input_names=["images"],
            output_names=["logits"], dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        )  # fmt: skip
    except Exception as error:  # whatever the exporter meets in a network
        reason = " ".join(str(error).split())[:200]
        raise UserError("--onnx", "", f"torch cannot export this network ({reason})", "leave --onnx out") from error
    run = session(file).run
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch in CHECKED_BATCHES:
        pixels = torch.rand(batch, *shape, generator=generator) * 255
        with torch.inference_mode():
            expected = model(pixels)
        (logits,) = run(None, {"images": pixels.numpy()})
        largest = max(largest, float((torch.from_numpy(logits) - expected).abs().max()))
    if largest > LARGEST_DIFFERENCE:
        file.unlink()
        problem = f"its logits differ from torch's by {largest:.2g}, more than {LARGEST_DIFFERENCE:g}"
        raise UserError("--onnx", "", problem, "leave --onnx out, and report the backbone")
    return largest


def require(package: str) -> None:
    """Makes sure that a package of the extra ``onnx`` is there.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec(package) is None:
        remedy = "install it: python -m pip install 'sota-bench[onnx]'"
        raise UserError("--onnx", "", f"{package} is not installed", remedy)
