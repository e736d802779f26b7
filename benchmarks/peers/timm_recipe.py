"""timm's own parts as its ``train.py`` puts them together: dataset, loader, transforms, optimizer and scheduler."""

from __future__ import annotations

import time

import common
import torch
from timm import create_model
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, accuracy, random_seed


def main() -> None:
    options = common.options(__doc__).parse_args()
    random_seed(options.seed)
    device = torch.device("cpu")
    model = create_model(options.backbone, pretrained=False, num_classes=10)
    shared = {
        "input_size": (3, options.size, options.size), "mean": common.MEAN, "std": common.STD,
        "num_workers": common.cores(), "device": device,
    }  # fmt: skip
    loader = create_loader(
        create_dataset("", root=str(options.images), split="train"), batch_size=options.batch, is_training=True,
        scale=common.CROP_SCALE, hflip=0.5, color_jitter=0.0, interpolation="bilinear", **shared,
    )  # fmt: skip
    evaluation = create_loader(
        create_dataset("", root=str(options.images), split="val"), batch_size=options.batch, is_training=False,
        interpolation="bilinear", crop_pct=1.0, **shared,
    )  # fmt: skip
    optimizer = create_optimizer_v2(model, opt="adamw", lr=options.lr, weight_decay=common.WEIGHT_DECAY)
    steps = len(loader)
    scheduler, _ = create_scheduler_v2(
        optimizer, sched="cosine", num_epochs=options.epochs, warmup_epochs=0.25 * options.epochs,
        warmup_lr=options.lr / 25, step_on_epochs=False, updates_per_epoch=steps,
    )  # fmt: skip
    loss_of, losses, ends = torch.nn.CrossEntropyLoss(), AverageMeter(), []
    for epoch in range(options.epochs):
        model.train()
        for step, (images, labels) in enumerate(loader):
            loss = loss_of(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.update(loss.item(), len(images))
            scheduler.step_update(epoch * steps + step + 1)
            if epoch == 0:
                ends.append(time.perf_counter())
        scheduler.step(epoch + 1)
    model.eval()
    top1 = AverageMeter()
    with torch.inference_mode():
        for images, labels in evaluation:
            top1.update(accuracy(model(images), labels)[0].item(), len(labels))
    common.write(options.result, ends, options.batch, top1.avg, precision="fp32")


if __name__ == "__main__":
    main()
