"""Whether `curate` finds what is planted, and whether the small sets that it makes keep the order of recipes.

``python benchmarks/curation.py found`` copies Imagenette into a folder, moves 5% of the training photographs to another
class at random, and adds altered copies of training photographs to the validation split. It runs `curate` on that
folder, with pretrained weights and with a probe that is trained on the folder itself, and counts: of the wrong labels,
how many are among the 10% of training images with the lowest label_score (to reach: 80%) and how many are flagged; of
the planted copies, how many are flagged as leaks (to reach: all); and the processor time of the whole command (to
reach: 10 minutes, which is 5 minutes on two cores).

``python benchmarks/curation.py order`` trains 12 recipes on all training photographs and on 5, 10 and 25% of them,
chosen by the aim `representative` and by a random draw of equally many of each class. For each part: Kendall's tau of
the order of the recipes against the order on all photographs, with its interval, and the regret: how much less
accurate, on all photographs, the part's winner is than the true winner.

Needs Imagenette (``SOTA_BENCH_DATA``). Exit code 1 where something that was to be reached is missed.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import record
from PIL import Image, ImageEnhance

from sota_bench.data.files import FileSource
from sota_bench.data.find import open_source
from sota_bench.randomness import generator
from sota_bench.stats.agreement import agreement

RESULTS = Path(__file__).resolve().parent / "results"
WRONG_SHARE, LOOKED_AT, LEAST_FOUND = 0.05, 0.10, 0.80
MOST_CPU_S = 600.0
EACH_COPY = 20
SHARES = (0.25, 0.10, 0.05)
AIMS = ("representative", "random")
RECIPES = """
lr = [0.01, 0.003, 0.001]
crop_scale = [0.35, 1.0]
mixup = [0.0, 0.4]
"""
SCHEDULE, PART_SCHEDULE = "32x4", "32x6"
"""Of trainings on all images, and on parts: fewer images take more epochs to learn."""


def encoded(image: Image.Image, quality: int) -> bytes:
    """A photograph as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def cropped(image: Image.Image, share: float) -> Image.Image:
    """The central part that keeps ``share`` of both sides, at the size of the whole."""
    width, height = image.size
    left, top = width * (1 - share) / 2, height * (1 - share) / 2
    return image.resize(image.size, Image.Resampling.BICUBIC, (left, top, width - left, height - top))


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded again": lambda image: image,
    "60% of the size": lambda image: image.resize((image.width * 6 // 10, image.height * 6 // 10)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "30% brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "cropped to 95%": lambda image: cropped(image, 0.95),
}
"""Copies that are planted, beside exact ones: kind -> the altered photograph, which is encoded with quality 75."""


@dataclass(frozen=True)
class Planted:
    """What is wrong with a folder.

    Attributes:
        wrong: path of each training image in a wrong class -> its true class.
        copies: path of each planted copy -> (kind, path of its original).
    """

    wrong: dict[str, str]
    copies: dict[str, tuple[str, str]]


def plant(folder: Path, images: int | None) -> Planted:
    """Writes Imagenette with wrong labels and copies across splits into a folder, as ``train/CLASS`` and ``val/CLASS``.

    Args:
        folder: to be made.
        images: photographs of each class and split at most; all by default.
    """
    source = open_source("imagenette", download=False)
    assert isinstance(source, FileSource)
    items, read, rng = source.scan().items, source.reader(), generator(0, "benchmark/curation")
    items = items.assign(side=items["split"].where(items["split"] == "train", "val"))
    if images is not None:
        items = items.groupby(["side", "label"], sort=False).head(images).reset_index(drop=True)
    classes = sorted(set(items["label"]))
    train = np.flatnonzero(items["side"] == "train")
    wrong_rows = set(rng.choice(train, round(WRONG_SHARE * len(train)), replace=False).tolist())
    wrong: dict[str, str] = {}
    places = []
    for row, (path, side, label) in enumerate(zip(items["path"], items["side"], items["label"], strict=True)):
        given = label
        if row in wrong_rows:
            given = str(rng.choice([name for name in classes if name != label]))
        place = f"{side}/{given}/{Path(path).stem}.JPEG"
        places.append(place)
        if given != label:
            wrong[place] = label
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(read(path))
    each = EACH_COPY if images is None else 2
    right = [row for row in train if row not in wrong_rows]
    originals = iter(rng.choice(right, each * (len(ALTERED) + 1), replace=False).tolist())
    copies = {}
    for number, kind in enumerate(["exact", *ALTERED]):
        for _ in range(each):
            row = next(originals)
            data = read(items["path"][row])
            if kind != "exact":
                data = encoded(ALTERED[kind](Image.open(io.BytesIO(data)).convert("RGB")), 75)
            place = f"val/{items['label'][row]}/copy{number}_{row}.JPEG"
            (folder / place).write_bytes(data)
            copies[place] = (kind, places[row])
    return Planted(wrong, copies)


@dataclass(frozen=True)
class Found:
    """How much of what was planted one run of `curate` found.

    Attributes:
        network: what looked at the images, as the command says it.
        accuracy: of the probe on training images, out of fold.
        wrong_first: share of the wrong labels among the images with the lowest scores.
        wrong_flagged: share of the wrong labels that is flagged.
        flagged: training images that are flagged as wrong labels.
        flagged_wrong: how many of those were planted.
        copies: kind -> (found, planted).
        false_leaks: images flagged as leaks that are neither planted copies nor their originals.
        cpu_s, wall_s: of the whole command, with its child processes.
        images: that it looked at.
        page_mb: size of the contact sheet in 10^6 bytes.
    """

    network: str
    accuracy: float
    wrong_first: float
    wrong_flagged: float
    flagged: int
    flagged_wrong: int
    copies: dict[str, tuple[int, int]]
    false_leaks: int
    cpu_s: float
    wall_s: float
    images: int
    page_mb: float

    @property
    def reached(self) -> bool:
        """Whether everything is found that was to be found, in the time."""
        all_copies = all(found == planted for found, planted in self.copies.values())
        return self.wrong_first >= LEAST_FOUND and all_copies and self.cpu_s <= MOST_CPU_S


def judge(rows: pd.DataFrame, planted: Planted) -> dict[str, Any]:
    """What the manifest says of what was planted."""
    train = rows[(rows["split"] == "train") & rows["label_score"].notna()]
    is_wrong = train["path"].isin(planted.wrong)
    first = train["label_score"].rank(method="first") <= round(LOOKED_AT * len(train))
    words = rows["reasons"].fillna("")
    flagged = train["reasons"].fillna("").str.contains("wrong-label")
    leaks = set(rows.loc[words.str.contains("leak"), "path"])
    copy_of = dict(zip(rows["path"], rows["copy_of"], strict=True))
    kinds: dict[str, list[bool]] = {}
    for path, (kind, original) in planted.copies.items():
        kinds.setdefault(kind, []).append(path in leaks and copy_of[path] == original)
    known = set(planted.copies) | {original for _, original in planted.copies.values()}
    return {
        "wrong_first": float((is_wrong & first).sum() / is_wrong.sum()),
        "wrong_flagged": float((is_wrong & flagged).sum() / is_wrong.sum()),
        "flagged": int(flagged.sum()),
        "flagged_wrong": int((is_wrong & flagged).sum()),
        "copies": {kind: (sum(found), len(found)) for kind, found in kinds.items()},
        "false_leaks": len(leaks - known),
        "images": int(rows["label_score"].notna().sum()),
    }


def find(folder: Path, planted: Planted, out: Path, arguments: list[str]) -> Found:
    """Runs the command on the folder and judges its manifest."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "sota_bench", "curate", str(folder), "--out", str(out), *arguments]
    subprocess.run(command, check=True)
    after, wall_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - started
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    made = json.loads((out / "curation.json").read_text(encoding="utf-8"))
    embedder = made["embedder"]
    weights = "pretrained" if embedder["weights"] else "trained on the folder"
    network = f"{embedder['backbone']} at {embedder['size']} px, {weights}"
    result = judge(pd.read_csv(out / "manifest.csv"), planted)
    page_mb = (out / "report.html").stat().st_size / 1e6
    return Found(network, made["probe_accuracy"], cpu_s=cpu_s, wall_s=wall_s, page_mb=page_mb, **result)


def found_page(runs: list[Found]) -> list[str]:
    """The results as Markdown."""
    heads = ["network", "probe right", "wrong labels in the lowest 10%", "wrong labels flagged", "flagged",
             "of them planted", "planted copies found", "other leaks", "processor time", "page"]  # fmt: skip
    rows = []
    for run in runs:
        found, planted = (sum(pair[side] for pair in run.copies.values()) for side in (0, 1))
        rows.append([
            run.network, f"{100 * run.accuracy:.1f}%", f"{100 * run.wrong_first:.1f}%",
            f"{100 * run.wrong_flagged:.1f}%", run.flagged, run.flagged_wrong, f"{found} of {planted}",
            run.false_leaks, f"{run.cpu_s:.0f} s", f"{run.page_mb:.1f} MB",
        ])  # fmt: skip
    by_kind = [[kind, *(f"{run.copies[kind][0]} of {run.copies[kind][1]}" for run in runs)] for kind in runs[0].copies]
    return [
        f"{runs[0].images:,} photographs of Imagenette; {100 * WRONG_SHARE:.0f}% of the training labels are wrong, and "
        "copies of training photographs were added to the validation split. Photographs of Imagenette are part of "
        "ImageNet, on which the pretrained weights were made: on photographs that they have not seen, they tell "
        "classes apart less well.",
        "",
        *record.table(heads, rows),
        "",
        *record.table(["copies", *(run.network for run in runs)], by_kind),
    ]


@dataclass(frozen=True)
class Kept:
    """How far a part of the images keeps the order of the recipes.

    Attributes:
        aim, share: which part.
        images: that it trains on.
        minutes: of one training and evaluation, the mean over recipes and seeds.
        tau, low, high: Kendall's tau against all images, and its interval.
        clear, kept, reversed: pairs that all images order beyond the seeds' noise; those that the part orders alike,
            and the other way round.
        regret_pp: accuracy on all images of the true winner less that of the part's winner, in percentage points.
        accuracy: on the part, of its best recipe, in percent.
    """

    aim: str
    share: float
    images: int
    minutes: float
    tau: float | None
    low: float | None
    high: float | None
    clear: int
    kept: int
    reversed: int
    regret_pp: float
    accuracy: float


@dataclass(frozen=True)
class Part:
    """A part of the training images: what it was chosen for, its manifest, and how many images it keeps."""

    aim: str
    share: float
    manifest: Path
    images: int


def parts(folder: Path) -> list[Part]:
    """Curates Imagenette for each aim and share; manifests that lie there already are taken as they are."""
    from sota_bench.curate.curation import Findings, Request, curate, examine
    from sota_bench.curate.embedder import find_embedder
    from sota_bench.data.curated import CuratedManifest, Origin
    from sota_bench.data.options import ReadingOptions

    source, embedder = open_source("imagenette", download=False), find_embedder("", "")
    findings: Findings | None = None
    made = []
    for aim in AIMS:
        for share in SHARES:
            file = folder / f"{aim}-{100 * share:.0f}.csv"
            if not file.exists():
                findings = findings or examine(source, embedder, 0, 1, lambda part, done, total: None)
                train = findings.rows["split"] == "train"
                per_class = round(share * train.sum() / len(findings.manifest.classes))
                request = Request(aim=aim, per_class=per_class)  # type: ignore[arg-type]
                origin = Origin("imagenette", None, ReadingOptions())
                file.write_text(curate(findings, request, origin, embedder, folder, {}).text, encoding="utf-8")
            made.append(Part(aim, share, file, len(CuratedManifest.load(file).training_labels())))
    return made


def order(scratch: Path, seeds: tuple[int, ...], quick: bool) -> tuple[list[Kept], dict[str, Any]]:
    """Trains the recipes on all images and on each part."""
    chosen = parts(scratch)
    names = [part.manifest.name for part in chosen]
    schedules = ("16x1", "16x1") if quick else (SCHEDULE, PART_SCHEDULE)
    whole = trained(scratch, "all", schedules[0], [""], seeds)
    rest = trained(scratch, "parts", schedules[1], names, seeds)
    return compare(whole, rest, chosen), {"schedules": schedules, "recipes": 12, "seeds": len(seeds)}


def trained(scratch: Path, name: str, schedule: str, levels: list[str], seeds: tuple[int, ...]) -> pd.DataFrame:
    """The trials of a grid of all recipes at some levels of ``curation``."""
    grid = scratch / f"{name}.toml"
    grid.write_text(
        f'[grid]\nname = "{name}"\nseeds = {list(seeds)}\n[data]\nsource = "imagenette"\nsize = 40\n'
        f'[recipe]\nbackbone = "test_resnet"\nresize = "{schedule}"\n'
        f"[factors]\ncuration = {json.dumps(levels)}\n{RECIPES.strip()}\n",
        encoding="utf-8",
    )
    out = scratch / name
    run = [sys.executable, "-m", "sota_bench", "run", str(grid), "--out", str(out), "--store", str(scratch / "store")]
    subprocess.run([*run, "--no-calibrate", "--workers", "1"], check=True)
    trials = pd.read_csv(out / "trials.csv", keep_default_na=False)
    return trials.assign(accuracy=trials["accuracy"].astype(float), minutes=trials["minutes"].astype(float))


def compare(whole: pd.DataFrame, rest: pd.DataFrame, chosen: list[Part]) -> list[Kept]:
    """The agreement of each part with all images.

    Args:
        whole: trials on all images.
        rest: trials on the parts; their ``curation`` is the name of the part's manifest.
        chosen: the parts.
    """

    def table(trials: pd.DataFrame) -> pd.DataFrame:
        return trials.pivot_table(index=["lr", "crop_scale", "mixup"], columns="seed", values="accuracy")

    reference = table(whole)
    means = reference.mean(axis=1)
    rows = []
    for part in chosen:
        trials = rest[rest["curation"] == part.manifest.name]
        responses = table(trials).loc[reference.index, reference.columns]
        same = agreement(reference.to_numpy(), responses.to_numpy())
        winner = responses.mean(axis=1).idxmax()
        rows.append(Kept(
            part.aim, part.share, part.images, float(trials["minutes"].mean()), same.tau, same.low, same.high,
            same.clear, same.kept, same.reversed, float(means.max() - means[winner]),
            float(responses.mean(axis=1).max()),
        ))  # fmt: skip
    return rows


def order_page(rows: list[Kept], about: dict[str, Any]) -> list[str]:
    """The results as Markdown."""
    heads = ["aim", "share", "images", "an iteration", "tau", "95% interval", "clear pairs", "kept", "reversed",
             "regret"]  # fmt: skip
    table = [
        [
            row.aim, f"{100 * row.share:.0f}%", f"{row.images:,}", f"{60 * row.minutes:.1f} s",
            "" if row.tau is None else f"{row.tau:.2f}",
            "" if row.low is None or row.high is None else f"{row.low:.2f} to {row.high:.2f}",
            row.clear, row.kept, row.reversed, f"{row.regret_pp:.1f} pp",
        ]
        for row in rows
    ]  # fmt: skip
    return [
        f"{about['recipes']} recipes (learning rate, crops, Mixup), test_resnet, seeds 0 to {about['seeds'] - 1}, "
        f"`{about['schedules'][0]}` on all images and `{about['schedules'][1]}` on parts, judged on the same select "
        "images: the order on parts of Imagenette against the order on all of its training photographs. `random` draws "
        "equally many images of each class, so it costs the same minutes as `representative`.",
        "",
        *record.table(heads, table),
    ]


def main() -> int:
    """Runs a part of the study and writes its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["found", "order"])
    parser.add_argument("--quick", action="store_true", help="few images and epochs: tries the command itself")
    parser.add_argument("--seeds", default="0,1", help="of the trainings of `order`")
    parser.add_argument("--networks", default="weights,none", help="what looks at the images: weights, none or both")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for images, manifests and trainings")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    if options.part == "order":
        seeds = tuple(int(seed) for seed in options.seeds.split(","))
        rows, about = order(options.scratch, seeds, options.quick)
        content = {**record.provenance("cpu"), **about, "parts": [asdict(row) for row in rows]}
        title = "Do small sets keep the order?"
        print(record.write(options.out, "curation_order", title, order_page(rows, about), content))
        return 0
    folder = options.scratch / "planted"
    planted = plant(folder, 40 if options.quick else None)
    extra: dict[str, list[str]] = {"weights": [], "none": ["--weights", "none"]}
    runs = [find(folder, planted, options.scratch / name, extra[name]) for name in options.networks.split(",")]
    content = {**record.provenance("cpu"), "runs": [asdict(run) for run in runs]}
    print(record.write(options.out, "curation_found", "What curate finds", found_page(runs), content))
    return 0 if runs[0].reached else 1


if __name__ == "__main__":
    sys.exit(main())
