"""Plain PyTorch with torchvision, as in its tutorials, or with ``--tuned`` as an expert writes it for speed:
channels_last, bf16 where the processor has it, a fused optimizer, uint8 batches normalized at once.

It also runs one cell of a grid: ``--resize``, ``--normalize``, ``--mixup``, ``--mitigation``, ``--tta``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import common
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

FISHER_IMAGES = 512
EWC_LAMBDA, LOW_LR, DISCRIMINATIVE = 100.0, 0.1, 2.6
FREEZE_TRAINED = 2


def arguments() -> Any:
    parser = common.options(__doc__.splitlines()[0])
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--resize", help='phases such as "32x2 64x1" instead of --size and --epochs')
    parser.add_argument("--normalize", choices=["dataset", "none"], default="dataset")
    parser.add_argument("--mixup", type=float, default=0.0)
    parser.add_argument(
        "--mitigation", choices=["none", "freeze", "discriminative", "ewc", "low-lr"], default="none"
    )  # fmt: skip
    parser.add_argument("--tta", choices=["off", "flip", "both"], default="off")
    return parser.parse_args()


def has_bf16() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def network(name: str, classes: int) -> nn.Module:
    if name == "resnet18":  # torchvision's own, without a further import
        from torchvision.models import resnet18

        return resnet18(num_classes=classes)
    import timm

    return timm.create_model(name, num_classes=classes)


class Task:
    """The images, the network, and how a batch becomes its input."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.format = torch.channels_last if options.tuned else torch.contiguous_format
        self.bf16 = options.tuned and has_bf16()
        mean, std = (common.MEAN, common.STD) if options.normalize == "dataset" else ((0.0,) * 3, (1 / 255,) * 3)
        self.mean = 255 * torch.tensor(mean).view(1, 3, 1, 1)
        self.std = 255 * torch.tensor(std).view(1, 3, 1, 1)
        self.finish = [v2.PILToTensor()] if options.tuned else [
            v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)
        ]  # fmt: skip
        self.loaders: dict[tuple[str, int], DataLoader] = {}
        self.model = network(options.backbone, 10).to(memory_format=self.format)

    def loader(self, split: str, size: int) -> DataLoader:
        """The loader of a split and size, whose processes are kept."""
        if (split, size) not in self.loaders:
            crop = (
                [v2.RandomResizedCrop(size, scale=common.CROP_SCALE), v2.RandomHorizontalFlip()]
                if split == "train" else [v2.Resize(size), v2.CenterCrop(size)]
            )  # fmt: skip
            images = datasets.ImageFolder(str(self.options.images / split), v2.Compose([*crop, *self.finish]))
            training = split == "train"
            self.loaders[split, size] = DataLoader(
                images, self.options.batch, shuffle=training, num_workers=common.cores(),
                persistent_workers=training and self.options.tuned,
            )  # fmt: skip
        return self.loaders[split, size]

    def inputs(self, images: Tensor) -> Tensor:
        if self.options.tuned:
            images = images.float().sub_(self.mean).div_(self.std)
        return images.contiguous(memory_format=self.format)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return self.model(images).float()


def blocks(model: nn.Module) -> list[list[nn.Module]]:
    """Stem, stages and head."""
    stem, head, stages = [], [], []
    for name, child in model.named_children():
        if name.startswith("layer"):
            stages.append([child])
        else:
            (head if stages else stem).append(child)
    return [stem, *stages, head]


def fisher(task: Task, size: int) -> dict[str, Tensor]:
    """Empirical diagonal Fisher information of the network as it is, from the gradient of each image."""
    model = task.model.eval()
    values = {name: value.detach() for name, value in model.named_parameters()}

    def score(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, parameters, (image[None],))
        return F.log_softmax(logits.float(), 1)[0].gather(0, label[None])[0]

    gradients = torch.func.vmap(torch.func.grad(score), in_dims=(None, 0, 0))
    total, count = {name: torch.zeros_like(value) for name, value in values.items()}, 0
    together = max(1, min(64, 2**28 // sum(4 * value.numel() for value in values.values())))
    for images, labels in task.loader("train", size):
        for part, its_labels in zip(task.inputs(images).split(together), labels.split(together), strict=True):
            for name, gradient in gradients(values, part, its_labels).items():
                total[name] += gradient.square().sum(0)
        count += len(images)
        if count >= FISHER_IMAGES:
            break
    return {name: value / count for name, value in total.items()}


def train_phase(task: Task, size: int, epochs: int, before: int | None) -> list[float]:
    """Trains at one size, with the mitigation where the size rises; returns when each step of the first epoch ended."""
    options, model = task.options, task.model
    rise = options.mitigation if before is not None and size > before else "none"
    importance = fisher(task, before) if rise == "ewc" and before else {}
    anchor = {name: value.detach().clone() for name, value in model.named_parameters()} if importance else {}
    parts = blocks(model)
    frozen = parts[:-FREEZE_TRAINED] if rise == "freeze" else []
    groups = []
    for index, part in enumerate(parts):
        scale = {"low-lr": LOW_LR, "discriminative": DISCRIMINATIVE ** -(len(parts) - 1 - index)}.get(rise, 1.0)
        parameters = [parameter for module in part for parameter in module.parameters()]
        for parameter in parameters:
            parameter.requires_grad_(part not in frozen)
        if part not in frozen:
            for decays in (True, False):
                group = [parameter for parameter in parameters if (parameter.ndim >= 2) == decays]
                decay = common.WEIGHT_DECAY if decays else 0.0
                if group:
                    groups.append({"params": group, "lr": options.lr * scale, "weight_decay": decay})
    optimizer = torch.optim.AdamW(groups, fused=True if options.tuned else None)
    loader = task.loader("train", size)
    rates = [group["lr"] for group in groups]
    warmup = max(0.25, 1.5 / (epochs * len(loader)))  # torch divides by zero where it is exactly one step
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, epochs=epochs, steps_per_epoch=len(loader), pct_start=warmup, cycle_momentum=False
    )
    ends = []
    for epoch in range(epochs):
        model.train()
        for module in model.modules():
            if importance and isinstance(module, nn.BatchNorm2d):
                module.eval()
        for part in frozen:
            for module in part:
                module.eval()
        for images, labels in loader:
            inputs = task.inputs(images)
            if options.mixup:
                weight = float(torch.distributions.Beta(options.mixup, options.mixup).sample())
                partner = torch.randperm(len(inputs))
                logits = task.forward(weight * inputs + (1 - weight) * inputs[partner])
                loss = weight * F.cross_entropy(logits, labels) + (1 - weight) * F.cross_entropy(
                    logits, labels[partner]
                )
            else:
                loss = F.cross_entropy(task.forward(inputs), labels)
            if importance:
                terms = [(importance[n] * (v - anchor[n]).square()).sum() for n, v in model.named_parameters()]
                loss = loss + EWC_LAMBDA / 2 * torch.stack(terms).sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            if epoch == 0:
                ends.append(time.perf_counter())
    return ends


@torch.inference_mode()
def accuracy(task: Task, size: int, flip: bool) -> float:
    """Percent of the validation images that are classified correctly."""
    task.model.eval()
    right = count = 0
    for images, labels in task.loader("val", size):
        inputs = task.inputs(images)
        scores = task.forward(inputs).softmax(1)
        if flip:
            scores = scores + task.forward(inputs.flip(3).contiguous(memory_format=task.format)).softmax(1)
        right += int((scores.argmax(1) == labels).sum())
        count += len(labels)
    return 100 * right / count


def main() -> None:
    options = arguments()
    torch.manual_seed(options.seed)
    task = Task(options)
    phases = [
        [int(part) for part in text.split("x")]
        for text in (options.resize or f"{options.size}x{options.epochs}").split()
    ]
    ends: list[float] = []
    before = None
    for size, epochs in phases:
        ends = train_phase(task, size, epochs, before)
        before = size
    views = {"off": (False,), "flip": (True,), "both": (False, True)}[options.tta]
    accuracies = [accuracy(task, phases[-1][0], flip) for flip in views]
    common.write(options.result, ends, options.batch, accuracies[-1], precision="bf16" if task.bf16 else "fp32")


if __name__ == "__main__":
    main()
