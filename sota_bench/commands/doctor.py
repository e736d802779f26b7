"""``doctor``: what this machine has, whether it works together, and what would make it faster."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

Level = Literal["ok", "advice", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        topic: what was looked at.
        level: ``ok``, ``advice`` (it works, and could be faster or safer) or ``problem`` (a run would fail).
        summary: what is there.
        advice: what to do, "" where nothing is.
    """

    topic: str
    level: Level
    summary: str
    advice: str = ""


@click.command()
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path(".sota_bench"),
    show_default=True,
    help="Folder for finished stages; its disk is checked.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(store: Path, as_json: bool) -> int:  # fmt: skip
    """Show what this machine has and what would make it faster."""
    findings = examine(store)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        signs = {"ok": click.style("ok     ", fg="green"), "advice": click.style("advice ", fg="yellow")}
        signs["problem"] = click.style("PROBLEM", fg="red", bold=True)
        for finding in findings:
            click.echo(f"{signs[finding.level]}  {finding.topic:<11} {finding.summary}")
            if finding.advice:
                click.echo(f"{'':22}-> {finding.advice}")
    return 1 if any(finding.level == "problem" for finding in findings) else 0


def examine(store: Path) -> list[Finding]:
    """All findings; a check that fails is itself a finding."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python, _processor, _memory, _accelerator, lambda: _disk(store), _decoding, _data,
    )  # fmt: skip
    return [finding for check in checks for finding in check()]


def _python() -> Iterator[Finding]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from sota_bench.plan.environment import detect

    versions = detect("cpu", 1).versions
    missing = [name for name in ("torch", "torchvision", "timm", "numpy", "pillow") if versions[name] == "absent"]
    shown = ", ".join(
        f"{name} {versions[name]}" for name in ("torch", "torchvision", "timm") if versions[name] != "absent"
    )
    if missing:
        yield Finding("software", "problem", f"{', '.join(missing)} missing", "install with: python -m pip install .")
        return
    try:
        import timm  # noqa: F401  the import is the check: torchvision must match torch
        import torchvision  # noqa: F401
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield Finding("software", "problem", f"{shown} do not work together: {reason}",
                      "install torch and torchvision together, from one index")  # fmt: skip
        return
    try:
        own = version("sota-bench")
    except PackageNotFoundError:
        own = "not installed"
    yield Finding("software", "ok", f"sota-bench {own}, Python {platform.python_version()}, {shown}")


def _processor() -> Iterator[Finding]:
    from sota_bench.plan.environment import cores, cpu

    processor = cpu()
    summary = f"{processor.name}, {cores()} cores, {processor.capability}"
    if processor.has_bf16:
        yield Finding("processor", "ok", f"{summary}, bf16 in hardware")
    else:
        yield Finding("processor", "advice", summary,
                      "the CPU lacks bf16 instructions (avx512_bf16, AMX), so it trains in fp32")  # fmt: skip
    limits = [name for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if os.environ.get(name)]
    if limits:
        shown = ", ".join(f"{name}={os.environ[name]}" for name in limits)
        yield Finding("threads", "ok", f"{shown}; workers set their own")


def _memory() -> Iterator[Finding]:
    import psutil

    from sota_bench.plan.environment import cores
    from sota_bench.plan.machine import MOST_WORKERS

    memory = psutil.virtual_memory()
    free, total = memory.available / 2**30, memory.total / 2**30
    workers = min(cores(), MOST_WORKERS)
    summary = f"{free:.1f} of {total:.1f} GiB free"
    if free < 0.9 * workers:
        yield Finding(
            "memory", "advice", summary, f"{workers} workers need about {0.9 * workers:.1f} GiB: use --workers 1"
        )
    else:
        yield Finding("memory", "ok", summary)


def _accelerator() -> Iterator[Finding]:
    from sota_bench.plan.gpus import gpus

    installed = gpus()
    if not installed:
        yield Finding("accelerator", "advice", "no NVIDIA GPU", "large backbones and images train slowly without one")
        return
    names = "; ".join(f"{gpu.name}, {gpu.memory}, driver {gpu.driver}" for gpu in installed)
    import torch

    if torch.cuda.is_available():
        yield Finding("accelerator", "ok", f"{names}, CUDA {torch.version.cuda}")
    else:
        yield Finding("accelerator", "problem", f"{names}, which this torch cannot use",
                      "install a torch build for this driver, or run with --device cpu")  # fmt: skip


def _disk(store: Path) -> Iterator[Finding]:
    from sota_bench.store import Store
    from sota_bench.units import size_text

    folder = store.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    used = Store(store).total_bytes() if store.exists() else 0
    summary = f"{size_text(free)} free for {store}, which holds {size_text(used)}"
    if free < 5 * 10**9:
        yield Finding(
            "disk", "advice", summary, "set --disk-limit, so that checkpoints are removed as soon as nothing needs them"
        )
    else:
        yield Finding("disk", "ok", summary)
    if not os.access(folder, os.W_OK):
        yield Finding("disk", "problem", f"{folder} cannot be written", "name another folder with --store")


def _decoding() -> Iterator[Finding]:
    from PIL import features

    turbo = features.check_feature("libjpeg_turbo")
    if turbo:
        yield Finding("decoding", "ok", "Pillow with libjpeg-turbo")
    else:
        yield Finding(
            "decoding", "advice", "Pillow without libjpeg-turbo", "decoding is slower: install Pillow's wheel"
        )


def _data() -> Iterator[Finding]:
    from sota_bench.data.find import open_source
    from sota_bench.errors import UserError

    here = os.environ.get("SOTA_BENCH_DATA")
    for name in ("imagenette", "imagewoof", "imagenet"):
        try:
            open_source(name, download=False)
        except UserError:
            continue
        yield Finding("data", "ok", f"{name} is here" + (" (SOTA_BENCH_DATA)" if here else ""))
        return
    yield Finding("data", "advice", "no photographs found; the built-in source known-effects needs none",
                  "set SOTA_BENCH_DATA to a folder or archive of Imagenette, or let `run` download it")  # fmt: skip
