"""Measures the backbones of the short list that ``list backbones`` shows, with timm.

python benchmarks/small_backbones.py            # writes sota_bench/grid/small_backbones.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SIZE, CLASSES, SMALLEST = 128, 10, 8
TARGET = Path(__file__).parents[1] / "sota_bench" / "grid" / "small_backbones.json"
NAMES = (
    "test_resnet", "test_convnext", "test_efficientnet", "test_vit", "lcnet_035", "lcnet_050", "lcnet_100", "tinynet_e",
    "mobilenetv2_035", "mobilenetv2_050", "mobilenetv2_100", "mobilenetv3_small_050", "mobilenetv3_small_100",
    "mobilenetv4_conv_small_035", "mobilenetv4_conv_small", "regnetx_002", "regnety_002", "resnet10t", "resnet14t",
    "resnet18", "resnet26t", "resnet50", "repvgg_a0", "nf_regnet_b0", "convnext_atto", "convnext_femto",
    "convnext_tiny", "efficientnet_b0", "mobilevit_xxs", "vit_tiny_patch16_224", "vit_small_patch16_224",
)  # fmt: skip


def measure(names: Sequence[str] = NAMES) -> list[dict[str, Any]]:
    """One row per backbone with :data:`CLASSES` classes, the fewest parameters first.

    FLOPs are torch's own count (a multiply-add is two) of one forward pass of one image of ``SIZE`` x ``SIZE`` pixels.
    """
    import timm
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    rows = []
    for name in names:
        model = timm.create_model(name, num_classes=CLASSES).eval()
        fixed = hasattr(model, "set_input_size")
        if fixed:
            model.set_input_size(img_size=(SIZE, SIZE))
        counter = FlopCounterMode(display=False)
        # Attention written out as products: torch's counter does not know the CPU's fused kernel.
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
            model(torch.zeros(1, 3, SIZE, SIZE))
        rows.append(
            {
                "name": name,
                "params": sum(tensor.numel() for tensor in model.parameters()),
                "flops": int(counter.get_total_flops()),
                "size": SIZE,
                "batch_norm": any(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules()),
                "fixed_size": fixed,
                **_takes(name),
            }
        )
    return sorted(rows, key=lambda row: (row["params"], row["name"]))


def _takes(name: str) -> dict[str, Any]:
    """The blocks of the network, and the settings and sizes that it takes."""
    from sota_bench.training.feasibility import answer

    def ask(size: int, **settings: Any) -> dict[str, Any]:
        query = {"techniques": [], "files": [], "weights": "", "sizes": [["resize", size]]}
        return answer(query | {"settings": {"backbone": name, "dropout": 0.1, **settings}})

    def fits(size: int) -> bool:
        return "problem" not in ask(size)

    step = next(step for step in (1, 2, 4, 8, 14, 16, 32) if fits(2 * SIZE + step))
    return {
        **ask(SIZE),
        "drop_path": "problem" not in ask(SIZE, drop_path=0.1),
        "step": step,
        "least": next(size for size in range(step * -(-SMALLEST // step), SIZE + 1, step) if fits(size)),
    }


if __name__ == "__main__":
    lines = ",\n".join("  " + json.dumps(row) for row in measure())
    TARGET.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    sys.stdout.write(f"{TARGET}: {len(NAMES)} backbones\n")
