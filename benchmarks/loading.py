"""How many augmented images does one core deliver? The kinds of ``data.cache`` beside the DataLoader of torch.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/loading.py          # about 2 minutes
    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/loading.py --quick

Each loader makes the same batches: random resized crops (35 to 100% of the area), half of them mirrored, uint8 pixels
at ``--size``. All run in one process with one thread, in turns, and are counted by the CPU seconds that they take, so
other work on the machine matters little. torchvision decodes the files themselves, as its users run it, and also files
that were scaled down before to the size that this project stores; webdataset decodes the same files from a shard, where
it is installed. FFCV is named as absent where it is not installed. Writes ``loading.json`` and ``loading.md``.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]

import common  # noqa: E402
import numpy as np  # noqa: E402
import record  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from sota_bench.data.build import build_cache  # noqa: E402
from sota_bench.data.find import open_source  # noqa: E402
from sota_bench.data.packed import SourceCache, open_cache  # noqa: E402
from sota_bench.training.crop import random_resized_boxes  # noqa: E402
from sota_bench.training.images import Images  # noqa: E402

CROP_SCALE, HEADROOM, BATCH = 0.35, 1.69, 64
GOAL = 1.5
"""Times the DataLoader's images per core second that packed JPEGs have to reach."""

Loader = Callable[[], Iterable[torch.Tensor]]
"""Makes the batches of one epoch."""


def own(folder: Path, kind: str, files: Path, size: int) -> Loader:
    """Batches from this project's cache of a kind, made in ``folder``."""
    source = open_source(f"folder:{files}")
    items = source.scan().items
    build_cache(folder / kind, source, items, 8 * round(size * HEADROOM / 8), 1, kind=kind)  # type: ignore[arg-type]
    cache = open_cache(folder / kind)
    if isinstance(cache, SourceCache):
        cache.read_from(source, {sha: (path, None) for sha, path in zip(items["sha256"], items["path"], strict=True)})
    images = Images(cache, np.arange(len(cache)), np.zeros(len(cache)), torch.device("cpu"))

    def epoch() -> Iterator[torch.Tensor]:
        rng = np.random.default_rng(0)
        batches = np.array_split(rng.permutation(len(images)), -(-len(images) // BATCH))
        for number, positions in enumerate(batches):
            boxes = random_resized_boxes(images.heights[positions], images.widths[positions], CROP_SCALE, rng)
            yield images.batch(positions, boxes, rng.random(len(positions)) < 0.5, size)
            if number + 1 < len(batches):
                images.expect(batches[number + 1])

    return epoch


def augmentation(size: int) -> Callable[[Image.Image], torch.Tensor]:
    """The same augmentation by torchvision."""
    from torchvision.transforms import v2

    crop = v2.RandomResizedCrop(size, scale=(CROP_SCALE, 1.0), antialias=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip(), v2.PILToTensor()])  # type: ignore[no-any-return]


def torchvision_loader(files: Path, size: int) -> Loader:
    """Batches of torch's DataLoader over torchvision's ImageFolder."""
    from torchvision.datasets import ImageFolder

    data = ImageFolder(files / "train", augmentation(size))

    def epoch() -> Iterator[torch.Tensor]:
        for images, _ in torch.utils.data.DataLoader(data, BATCH, shuffle=True):
            yield images

    return epoch


def webdataset_loader(files: Path, folder: Path, size: int) -> Loader:
    """Batches of webdataset from one shard of the same files."""
    import webdataset

    shard = folder / "shard.tar"
    with tarfile.open(shard, "w") as out:
        for number, file in enumerate(sorted((files / "train").rglob("*.*"))):
            out.add(file, f"{number:06d}.jpg")

    def epoch() -> Iterator[torch.Tensor]:
        data = webdataset.WebDataset(str(shard), shardshuffle=False).shuffle(1000).decode("pil")
        augmented = data.to_tuple("jpg").map_tuple(augmentation(size)).batched(BATCH)
        for (images,) in augmented:
            yield torch.as_tensor(images)

    return epoch


def scaled_down(files: Path, folder: Path, size: int) -> Path:
    """The same folder with JPEGs at the size that this project stores."""
    side = 8 * round(size * HEADROOM / 8)
    for file in sorted((files / "train").rglob("*.*")):
        out = (folder / file.relative_to(files)).with_suffix(".jpg")
        out.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as image:
            factor = side / min(image.size)
            smaller = image.convert("RGB").resize((round(image.width * factor), round(image.height * factor)))
        content = io.BytesIO()
        smaller.save(content, "JPEG", quality=90)
        out.write_bytes(content.getvalue())
    return folder


def images_per_cpu_s(loader: Loader) -> float:
    """Images of one epoch per second of this process's CPU time."""
    began, count = time.process_time(), 0
    for batch in loader():
        count += len(batch)
    return count / (time.process_time() - began)


def main(given: Sequence[str] | None = None) -> int:
    """Measures every loader and prints the page; 1 where packed JPEGs miss the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--data", type=Path, default=os.environ.get("SOTA_BENCH_DATA"), help="folder of Imagenette")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few images, two rounds")
    options = parser.parse_args(given)
    if options.data is None:
        parser.error("name the folder of Imagenette with --data or SOTA_BENCH_DATA")
    if options.quick:
        options.images, options.rounds = 300, 2
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="sota-bench-loading-") as name:
        folder = Path(name)
        files = common.export(Path(options.data), folder / "files", options.images, 20)
        smaller = scaled_down(files, folder / "smaller", options.size)
        kinds = ("pixels", "jpeg", "none")
        loaders = {f'data.cache = "{kind}"': own(folder, kind, files, options.size) for kind in kinds}
        loaders["DataLoader, torchvision, scaled-down files"] = torchvision_loader(smaller, options.size)
        loaders["DataLoader, torchvision, the files"] = torchvision_loader(files, options.size)
        if importlib.util.find_spec("webdataset"):
            loaders["webdataset, the files"] = webdataset_loader(files, folder, options.size)
        rates: dict[str, list[float]] = {loader: [] for loader in loaders}
        for _ in range(options.rounds):
            for loader, epoch in loaders.items():
                rates[loader].append(images_per_cpu_s(epoch))
                print(f"{loader}: {rates[loader][-1]:,.0f} images per CPU second", file=sys.stderr, flush=True)
    result = {
        **record.provenance("cpu"), "size": options.size, "images": options.images, "goal": GOAL,
        "rates": {loader: statistics.median(values) for loader, values in rates.items()}, "rounds": rates,
    }  # fmt: skip
    print(record.write(options.out, "loading", "Augmented images per core second", page(result), result))
    return 0 if ratio(result, 'data.cache = "jpeg"') >= GOAL else 1


def ratio(result: dict[str, Any], loader: str) -> float:
    """Times the rate of the DataLoader on the files."""
    return float(result["rates"][loader] / result["rates"]["DataLoader, torchvision, the files"])


def page(result: dict[str, Any]) -> list[str]:
    """The lines of the page."""
    heads = ("loader", "images per CPU second", "times the DataLoader's")
    rows = [(loader, f"{rate:,.0f}", f"{ratio(result, loader):.2f}") for loader, rate in result["rates"].items()]
    absent = "" if importlib.util.find_spec("ffcv") else " FFCV was not installed."
    return [
        f"{result['images']:,} photographs of Imagenette, random crops at {result['size']} px, one thread; "
        f"medians of {len(next(iter(result['rounds'].values())))} rounds.{absent}",
        "",
        *record.table(heads, rows),
    ]


if __name__ == "__main__":
    sys.exit(main())
