"""``curate``: one pass over a data set, what is wrong with it, and the part of it that was asked for."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sota_bench.curate import choose, flags, labels
from sota_bench.curate.copies import find_copies, originals_of
from sota_bench.curate.embedder import Embedder
from sota_bench.curate.outliers import outlier_scores
from sota_bench.data.curated import COLUMNS, RECORD, Origin
from sota_bench.data.manifest import Manifest
from sota_bench.data.source import Source
from sota_bench.errors import UserError
from sota_bench.files import write_text

if TYPE_CHECKING:
    import pandas as pd

    from sota_bench.curate.embed import Embedding

MORE_COLUMNS = ("outlier_score", "copy_score", "shorter_side", "suggested_score", "note")
"""Further columns of ``manifest.csv``: the scores of the other flags, the shorter side of images that are smaller than
what the network looks at, the probability of ``suggested_class``, and why a file cannot be used."""

MANIFEST = "manifest.csv"

Progress = Callable[[str, int, int], None]
"""Called with (what is done, done, total)."""


@dataclass(frozen=True)
class Request:
    """What is asked of a curation.

    Attributes:
        aim: what the classes and images are chosen for.
        classes: how many classes; 0 for all.
        per_class: training images of each class at most; 0 for all.
        seed: of every draw.
        drop: reasons for which training images are not kept.
    """

    aim: choose.Aim = "random"
    classes: int = 0
    per_class: int = 0
    seed: int = 0
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Findings:
    """What one pass learned of a source: enough to choose any part of it.

    Attributes:
        manifest: of the source.
        rows: the columns of the curated manifest but ``keep``, one row per image, by path; ``reasons`` holds the flags.
        class_order, image_ranks: aim -> the order of the classes; aim -> int64 [N], the rank of each training image in
            its class, -1 for images that judge. Filled for the aims that were asked for.
        accuracy: of the probe on training images that it has not seen, 0 to 1.
        labels_checked: whether confident learning was there to ask.
        folds, components: int64 [N] and float32 [N, C], kept for the orders.
        notes: sentences for the reader.
    """

    manifest: Manifest
    rows: pd.DataFrame
    probabilities: np.ndarray
    projected: np.ndarray
    accuracy: float
    labels_checked: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curation:
    """A curated manifest and how it was made.

    Attributes:
        rows: of ``manifest.csv``.
        record: of ``curation.json``.
        classes: those that are kept, in the order in which they were chosen.
    """

    rows: pd.DataFrame
    record: dict[str, Any]
    classes: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of ``manifest.csv``."""
        return manifest_text(self.rows)


def manifest_text(rows: pd.DataFrame) -> str:
    """Rows as CSV: ``keep`` as true or false, scores with four digits."""
    table = rows[[*COLUMNS, *MORE_COLUMNS]].copy()
    table["keep"] = np.where(table["keep"].astype(bool), "true", "false")
    for name in ("label_score", "outlier_score", "copy_score", "suggested_score"):
        table[name] = ["" if value is None or value != value else f"{value:.4f}" for value in table[name]]
    table["shorter_side"] = ["" if not value or value != value else str(int(value)) for value in table["shorter_side"]]
    return str(table.fillna("").to_csv(index=False, lineterminator="\n"))


def examine(source: Source, embedder: Embedder, seed: int, processes: int, progress: Progress) -> Findings:
    """Looks at every image of a source.

    Args:
        source: the data set.
        embedder: the network that looks; without weights a probe is trained.
        seed: of folds and of a probe.
        processes: how many decode.
        progress: told what is going on.

    Raises:
        UserError: the source or the weights cannot be used.
    """
    manifest = source.scan(lambda done, total: progress("list", done, total))
    items = manifest.items
    index = {name: number for number, name in enumerate(manifest.classes)}
    targets = np.array([index[name] for name in items["label"]], dtype=np.int64)
    with tempfile.TemporaryDirectory(prefix="sota-bench-curate-") as name:
        look = _by_weights if embedder.weights else _by_probe
        folder = Path(name)
        embedding, probabilities, projected = look(
            source, items, targets, len(index), embedder, seed, folder, processes, progress
        )
        size = embedder.size if embedder.weights else embedder.stored_size
        return _judged(manifest, targets, embedding, probabilities, projected, size, progress)


def _by_weights(
    source: Source, items: pd.DataFrame, targets: np.ndarray, classes: int, embedder: Embedder, seed: int, folder: Path,
    processes: int, progress: Progress,
) -> tuple[Embedding, np.ndarray, np.ndarray]:  # fmt: skip
    from sota_bench.curate.embed import embed, pretrained_network

    network = pretrained_network(embedder)
    embedding = embed(
        source, items, network, embedder.size, folder, processes, lambda done, total: progress("embed", done, total)
    )
    usable = embedding.sides > 0
    train = (items["split"] == "train").to_numpy(dtype=bool) & usable
    projected = labels.components(embedding.features, np.flatnonzero(train))
    folds = labels.folds_of(items, seed, labels.FOLDS)
    probabilities = labels.out_of_fold(
        projected, targets, train, folds, classes, lambda done, total: progress("check labels", done, total)
    )
    return embedding, probabilities, projected


def _by_probe(
    source: Source, items: pd.DataFrame, targets: np.ndarray, classes: int, embedder: Embedder, seed: int, folder: Path,
    processes: int, progress: Progress,
) -> tuple[Embedding, np.ndarray, np.ndarray]:  # fmt: skip
    from sota_bench.curate.quick_probe import FOLDS, QuickProbe, decode_once

    cache, problems = decode_once(
        source, items, embedder.stored_size, folder, processes, lambda done, total: progress("decode", done, total)
    )
    row_of = {content: row for row, content in enumerate(cache.contents.tolist())}
    rows = np.array([row_of.get(content, -1) for content in items["sha256"]], dtype=np.int64)
    train = (items["split"] == "train").to_numpy(dtype=bool) & (rows >= 0)
    folds = labels.folds_of(items, seed, FOLDS)
    probe = QuickProbe(cache, rows, embedder, classes, seed)
    probabilities = np.zeros((len(items), classes), np.float32)
    judged = np.flatnonzero(~train & (rows >= 0))
    for fold in range(FOLDS):
        fitted, asked = np.flatnonzero(train & (folds != fold)), np.flatnonzero(train & (folds == fold))

        def report(done: int, total: int, fold: int = fold) -> None:
            progress("train a probe", fold * total + done, FOLDS * total)

        network = probe.fit(fitted, targets[fitted], fold, report)
        probabilities[asked] = probe.probabilities(network, asked)
        probabilities[judged] += probe.probabilities(network, judged) / FOLDS
    embedding = probe.embed(network, folder, problems, lambda done, total: progress("embed", done, total))
    return embedding, probabilities, labels.components(embedding.features, np.flatnonzero(train))


def _judged(
    manifest: Manifest, targets: np.ndarray, embedding: Embedding, probabilities: np.ndarray, projected: np.ndarray,
    size: int, progress: Progress,
) -> Findings:  # fmt: skip
    """The flags of all images."""
    import pandas as pd

    items = manifest.items
    usable, splits = embedding.sides > 0, items["split"].to_numpy(dtype=object)
    trained = np.flatnonzero((splits == "train") & usable)
    check = labels.check_labels(probabilities, targets, usable)
    progress("find copies", 0, 1)
    copies = find_copies(items, targets, embedding.features, embedding.looks)
    near_copy, leak, copy_of = flags.copy_flags(splits, items["path"].tolist(), copies)
    outlier_score, outlier = outlier_scores(projected, trained, usable)
    progress("find copies", 1, 1)
    by_reason = {
        flags.WRONG_LABEL: check.wrong,
        flags.OUTLIER: outlier,
        flags.NEAR_COPY: near_copy,
        flags.LEAK: leak,
        flags.TINY: flags.tiny(embedding.sides),
        flags.UNREADABLE: ~usable,
    }
    names = np.array(manifest.classes, dtype=object)
    suggested = np.where(usable & (check.suggested != targets), names[check.suggested], "")
    words = [[word for word, flagged in by_reason.items() if flagged[row]] for row in range(len(items))]
    rows = pd.DataFrame({
        "path": items["path"], "split": splits, "class": items["label"], "keep": usable,
        "reasons": [flags.SEPARATOR.join(each) for each in words],
        "label_score": np.where(usable, check.scores, np.nan), "suggested_class": suggested, "copy_of": copy_of,
        "sha256": items["sha256"], "outlier_score": np.where(usable, outlier_score, np.nan),
        "copy_score": np.where(near_copy | leak, copies.similarity, np.nan), 
        "shorter_side": np.where(embedding.sides < size, embedding.sides, 0),
        "suggested_score": np.where(suggested != "", probabilities.max(axis=1), np.nan),
        "note": [embedding.problems.get(row, "") for row in range(len(items))],
    })  # fmt: skip
    right = check.suggested[trained] == targets[trained]
    notes = () if check.checked else (labels.MISSING,)
    return Findings(manifest, rows, probabilities, projected, float(right.mean()), check.checked, notes)


def chosen_classes(findings: Findings, request: Request) -> list[str]:
    """The classes that a request chooses, in the order in which they are taken.

    Raises:
        UserError: more classes are asked for than there are.
    """
    manifest, rows = findings.manifest, findings.rows
    names = manifest.classes
    if not request.classes:
        return names
    if request.classes > len(names):
        problem = f"{request.classes} is more than the {len(names)} that {manifest.name} has"
        raise UserError("--classes", "", problem, "ask for fewer")
    targets = _targets(findings)
    counted = _available(findings, request) & (rows["split"] == "train").to_numpy(dtype=bool)
    rates = choose.confusions(findings.probabilities, targets, np.flatnonzero(counted), len(names))
    return [names[number] for number in choose.order_classes(request.aim, rates, request.seed)[: request.classes]]


def training_counts(findings: Findings, request: Request, classes: Sequence[str]) -> dict[str, int]:
    """Class -> training images that a request could keep of it."""
    rows = findings.rows[_available(findings, request)]
    counts = rows.loc[rows["split"] == "train", "class"].value_counts()
    return {name: int(counts.get(name, 0)) for name in classes}


def _targets(findings: Findings) -> np.ndarray:
    index = {name: number for number, name in enumerate(findings.manifest.classes)}
    return np.array([index[name] for name in findings.rows["class"]], dtype=np.int64)


def _words(rows: pd.DataFrame) -> list[set[str]]:
    return [set(text.split(flags.SEPARATOR)) for text in rows["reasons"]]


def _available(findings: Findings, request: Request) -> np.ndarray:
    """Which images may be kept, bool [N]: those that decode, without training images that are to be dropped."""
    rows, drop = findings.rows, set(request.drop)
    dropped = np.array([bool(each & drop) for each in _words(rows)], dtype=bool)
    return rows["keep"].to_numpy(dtype=bool) & ~(dropped & (rows["split"] == "train").to_numpy(dtype=bool))


def select(findings: Findings, request: Request) -> tuple[pd.DataFrame, list[str]]:
    """The rows of the curated manifest that a request asks for, with ``keep`` and the reasons; and the classes that are
    kept, in the order in which they were chosen.

    Raises:
        UserError: more classes are asked for than there are, or no training image is left.
    """
    import pandas as pd

    manifest, rows = findings.manifest, findings.rows.copy()
    classes = chosen_classes(findings, request)
    targets, available = _targets(findings), _available(findings, request)
    train = (rows["split"] == "train").to_numpy(dtype=bool)
    inside = np.array(rows["class"].isin(classes), dtype=bool)
    if request.per_class:
        doubtful = {flags.WRONG_LABEL, flags.OUTLIER}
        flagged = np.array([bool(each & doubtful) for each in _words(rows)], dtype=bool)
        for name in classes:
            members = np.flatnonzero(available & train & (targets == manifest.classes.index(name)))
            order = choose.order_images(
                request.aim, rows["sha256"].iloc[members].tolist(), rows["label_score"].to_numpy(float)[members],
                flagged[members], findings.projected[members], request.seed,
            )  # fmt: skip
            inside[members[order[request.per_class :]]] = False
    kept = available & inside
    if not kept[train].any():
        raise UserError("--drop", "", "no training image is left", "drop fewer reasons")
    rows["keep"] = kept
    not_chosen = ~inside & available
    rows.loc[not_chosen, "reasons"] = [
        flags.SEPARATOR.join(filter(None, (text, flags.NOT_CHOSEN))) for text in rows.loc[not_chosen, "reasons"]
    ]
    others = flags.left_out_rows(manifest, originals_of(manifest))
    table = pd.concat([rows, others], ignore_index=True) if len(others) else rows
    table = table.reindex(columns=[*COLUMNS, *MORE_COLUMNS]).sort_values("path", kind="stable", ignore_index=True)
    return table, classes


def curate(
    findings: Findings, request: Request, origin: Origin, embedder: Embedder, folder: Path, versions: dict[str, str],
    budget: dict[str, Any] | None = None,
) -> Curation:  # fmt: skip
    """The manifest of a request and how it was made.

    Args:
        findings: of the source.
        request: what is wanted.
        origin: of the images.
        embedder: that looked at them.
        folder: in which the manifest will lie.
        versions: of the software.
        budget: what was asked and predicted, where the size follows from minutes.
    """
    rows, classes = select(findings, request)
    text = manifest_text(rows)
    counts = rows.loc[rows["keep"].astype(bool), "split"].value_counts()
    record = {
        "format": 1,
        "manifest": {
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "kept": {split: int(counts.get(split, 0)) for split in ("train", "select", "test")},
            "classes": classes,
        },
        "source": {**origin.to_json(folder), "name": findings.manifest.name, "digest": findings.manifest.digest},
        "request": {
            "aim": request.aim, "classes": request.classes, "per_class": request.per_class, "seed": request.seed,
            "drop": list(request.drop),
        },
        "budget": budget,
        "embedder": {
            "backbone": embedder.backbone, "weights": embedder.weights, "weights_sha256": embedder.digest,
            "size": embedder.size,
        },
        "probe_accuracy": round(findings.accuracy, 4),
        "versions": versions,
    }  # fmt: skip
    return Curation(rows, record, classes)


def write(curation: Curation, page: str, folder: Path) -> None:
    """Writes ``manifest.csv``, ``curation.json`` and ``report.html``.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / RECORD, json.dumps(curation.record, indent=1, ensure_ascii=False) + "\n")
        write_text(folder / "report.html", page)
        write_text(folder / MANIFEST, curation.text)
    except OSError as error:
        raise UserError("--out", "", f"{folder} cannot be written: {error.strerror}", "name another folder") from None


def reason_counts(rows: pd.DataFrame) -> dict[str, int]:
    """Reason -> images, in the order of ``flags.REASONS``."""
    words: Sequence[list[str]] = [text.split(flags.SEPARATOR) for text in rows["reasons"].fillna("")]
    return {reason: sum(reason in each for each in words) for reason in flags.REASONS}
