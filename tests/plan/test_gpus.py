"""Which GPUs a process sees, and whether they have bf16."""

from __future__ import annotations

import pytest

from sota_bench.errors import UserError
from sota_bench.plan import environment, gpus
from sota_bench.plan.gpus import Gpu, mig_slices, visible

CARDS = tuple(
    Gpu(f"GPU-{number}abc", name, "570.1", "15360 MiB", capability)
    for number, (name, capability) in enumerate(
        [("Tesla T4", (7, 5)), ("NVIDIA A100", (8, 0)), ("NVIDIA H200", (9, 0))]
    )
)
LISTING = """GPU 0: Tesla T4 (UUID: GPU-0abc)
GPU 1: NVIDIA A100 (UUID: GPU-1abc)
  MIG 1g.5gb      Device  0: (UUID: MIG-5a)
  MIG 2g.10gb     Device  1: (UUID: MIG-6b)
GPU 2: NVIDIA H200 (UUID: GPU-2abc)
"""


@pytest.mark.parametrize(
    ("chosen", "seen"),
    [
        (None, ["GPU-0abc", "GPU-1abc", "GPU-2abc"]),
        ("", []),
        ("-1", []),
        ("2", ["GPU-2abc"]),
        ("2,0", ["GPU-2abc", "GPU-0abc"]),
        (" 1 , 2", ["GPU-1abc", "GPU-2abc"]),
        ("0,7,1", ["GPU-0abc"]),
        ("1,1", ["GPU-1abc"]),
        ("GPU-2", ["GPU-2abc"]),
        ("GPU-", []),
        ("MIG-6b", ["MIG-6b"]),
        ("MIG-5a,GPU-0abc", ["MIG-5a", "GPU-0abc"]),
    ],
)
def test_cuda_visible_devices_chooses_and_orders(chosen: str | None, seen: list[str]) -> None:
    assert [gpu.uuid for gpu in visible(CARDS, mig_slices(CARDS, LISTING), chosen)] == seen


def test_a_slice_is_named_after_its_card() -> None:
    first, second = mig_slices(CARDS, LISTING)
    assert (first.name, second.name) == ("NVIDIA A100 MIG 1g.5gb", "NVIDIA A100 MIG 2g.10gb")
    assert first.capability == (8, 0)


@pytest.mark.parametrize(("index", "precision"), [(0, "fp32"), (1, "bf16"), (2, "bf16")])
def test_auto_is_bf16_where_the_gpu_has_it(monkeypatch: pytest.MonkeyPatch, index: int, precision: str) -> None:
    monkeypatch.setattr(gpus, "_installed", lambda: (CARDS, ()))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = environment.detect(f"cuda:{index}", 1)
    assert (found.precision, found.identity["name"]) == (precision, CARDS[index].name)


def test_a_hidden_gpu_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_installed", lambda: (CARDS, ()))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert environment.detect("auto", 1).identity["name"] == "NVIDIA H200"
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES='2'"):
        environment.detect("cuda:1", 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert environment.detect("auto", 1).device == "cpu"


def test_the_driver_s_answer_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"--query-gpu": "GPU-1, NVIDIA L4, 570.86, 23034 MiB, 8.9\nGPU-2, Old, 390.1, 4 MiB, [N/A]\n", "-L": ""}
    monkeypatch.setattr(
        gpus, "output_of", lambda command, timeout_s: next(answers[key] for key in answers if key in command[1])
    )
    installed, slices = gpus._installed.__wrapped__()
    assert [(gpu.name, gpu.capability) for gpu in installed] == [("NVIDIA L4", (8, 9)), ("Old", (0, 0))] and not slices
