"""Odd data sets: thousands of small ones as people have them, each of which must be read right or refused in one line.

``python benchmarks/odd_datasets.py`` (``--quick``: 60 of them) makes data sets at random: layouts, spellings of splits,
names of classes, leftovers of systems, tables, archives, formats of images, damaged files; reads each as
``python -m sota_bench data`` does, and compares every image with the split and class that it was made with. Of every
third one the bytes of archives and tables are damaged. Faults are: an exception, a reading that takes over a minute, an
error that is not one line with a remedy, an image with another class or split, a good image that is left out, a damaged
one that is used, a file that the account does not mention, a manifest that is not read as it was written. Writes
``results/odd_datasets.md``; ``--seed`` and ``--only N`` repeat one. Exit code 1 where there is a fault.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import shutil
import signal
import sys
import tarfile
import tempfile
import traceback
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from sota_bench.data import find
from sota_bench.data.account import account_of
from sota_bench.data.junk import is_junk
from sota_bench.data.manifest import Manifest
from sota_bench.data.names import readable
from sota_bench.data.options import ReadingOptions
from sota_bench.errors import UserError

RESULTS = Path(__file__).parent / "results" / "odd_datasets.md"
SECONDS = 60
COUNT, QUICK = 3000, 60

SPLITS = (
    ("train", "val", "test"), ("train", "val"), ("train", "test"), ("Train", "Valid"), ("training", "validation"),
    ("TRAINING", "TESTING"), ("training_set", "test_set"), ("train_images", "val_images", "test_images"),
    ("seg_train", "seg_test"), ("train", "dev", "eval"), ("Train Data", "Test Data"), ("trainset", "valset"),
    ("cats_train", "cats_val"), ("train-224", "val-224"), ("1_train", "2_val", "3_test"),
)  # fmt: skip
"""Folders of the splits."""

PLAIN = ("cat", "dog", "sea", "forest", "ship", "zebra")
NAMES = (
    PLAIN,
    ("0", "1", "2", "10", "11"), ("00", "01", "02"), ("-1", "+1"), ("1.0", "2.0", "2.5"), ("1e3", "1e4", "inf"),
    ("NA", "None", "nan", "null"), ("True", "False"), ("yes", "no"), ("golden retriever", "Shih-Tzu"),
    ("\u732b", "\u72ac", "\u9ce5"), ("\u043a\u043e\u0442", "\u043f\u0451\u0441"), ("\U0001f431", "\U0001f436"),
    ("cafe\u0301", "th\u00e9"), ("\u0642\u0637", "\u0643\u0644\u0628"), ("a.b", "c.d.e"), ("v1.jpg", "v2.jpg"),
    ("#hash", "%20", "$x"), ("a,b", "c;d", "e|f"), ("it's", 'say "x"'), ("=1+1", "@x"), ("x" * 120, "y" * 120),
    ("n01440764", "n02102040"), ("class_0", "class_1"), ("bullet train", "bus"), ("left", "right"), ("normal", "tumor"),
    ("a\nb", "c\td"), (" lead", "trail "), ("\u202eabc", "\u200b"), ("'", "`"), ("[red]", "[bold]"), ("{x}", "{0}"),
    ("con", "aux"), ("~old", "new"), ("(1)", "[2]"), ("a  b", "a b c"),
)  # fmt: skip
"""Names of classes that occur together."""

JUNK = (
    ".DS_Store", "._x.jpg", "Thumbs.db", "thumbs.DB", "desktop.ini", "__MACOSX/a/._0.jpg", ".ipynb_checkpoints/a.jpg",
    "@eaDir/a.jpg", "$RECYCLE.BIN/b.png", ".git/config", "lost+found/x.jpg", "System Volume Information/x",
    "~$doc.docx",
)  # fmt: skip
OTHERS = ("README.md", "LICENSE", "notes.txt", "requirements.txt", "script.py", "model.pth", "video.mp4", "paper.pdf")
FORMATS = (
    "JPEG",
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "AVIF",
    "grey",
    "palette",
    "alpha",
    "cmyk",
    "deep",
)
ENDINGS = {"JPEG": (".jpg", ".JPG", ".jpeg", ".jfif"), "cmyk": (".jpg",), "TIFF": (".tif", ".TIFF"), "WEBP": (".webp",),
           "GIF": (".gif",), "BMP": (".bmp",), "PPM": (".ppm",), "AVIF": (".avif", ".AVIF")}  # fmt: skip
DAMAGES = ("empty", "cut", "page", "pointer", "noise", "zeros")
CONTAINERS = ("folder", "folder", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "zip", "windows zip", "wrapped zip")


@dataclass
class Case:
    """A data set and what is true of it.

    Attributes:
        traits: what it is like, for the table.
        files: path -> bytes.
        truth: path of each image -> its split ("" where there is none) and class, or None for a damaged one.
        told: paths of further files that the account must mention.
        options: what the user says.
    """

    traits: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    truth: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    options: dict[str, str] = field(default_factory=dict)


def image(rng: np.random.Generator, kind: str) -> bytes:
    """A small picture in one of the formats."""
    side = int(rng.integers(24, 60))
    pixels = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((side, side + int(rng.integers(0, 20))), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    if kind == "deep":
        Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 100).save(out, "PNG")
    elif kind in ("grey", "palette", "alpha", "cmyk"):
        mode = {"grey": "L", "palette": "P", "alpha": "RGBA", "cmyk": "CMYK"}[kind]
        picture.convert(mode).save(out, "JPEG" if kind == "cmyk" else "PNG")
    else:
        picture.save(out, kind)
    return out.getvalue()


def damaged(rng: np.random.Generator, kind: str) -> bytes:
    """What is left of a picture."""
    whole = image(rng, "JPEG" if kind != "zeros" else "PNG")
    return {
        "empty": b"", "cut": whole[: len(whole) // 3], "page": b"<!DOCTYPE html><title>404</title>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "noise": rng.bytes(500), "zeros": bytes(900),
    }[kind]  # fmt: skip


def meaning(folder: str) -> str:
    """The split that one of ``SPLITS`` stands for."""
    lower = folder.lower()
    words = (("train", "train"), ("val", "val"), ("dev", "val"), ("test", "test"), ("eval", "test"))
    return next(split for word, split in words if word in lower and not (word == "val" and "eval" in lower))


def make(rng: np.random.Generator) -> Case:
    """A data set at random."""
    case = Case()
    names = list(NAMES[rng.integers(len(NAMES))]) if rng.random() < 0.6 else list(PLAIN)
    names = [str(name) for name in rng.permutation(names)[: max(2, int(rng.integers(2, 5)))]]
    layout = str(rng.choice(list(LAYOUTS)))
    case.traits |= {"layout": layout, "names": "plain" if set(names) <= set(PLAIN) else names[0][:12]}
    pictures = images_of(rng, case, names, LAYOUTS[layout].splits(rng))
    LAYOUTS[layout].write(rng, case, pictures)
    beside(rng, case)
    return case


@dataclass
class Picture:
    """An image before it has a path."""

    folder: str
    label: str
    stem: str
    ending: str
    data: bytes
    good: bool

    @property
    def split(self) -> str:
        return meaning(self.folder) if self.folder else ""


def images_of(rng: np.random.Generator, case: Case, names: Sequence[str], folders: Sequence[str]) -> list[Picture]:
    """Images of each class in each split; the first two of each are good."""
    kinds = [str(rng.choice(FORMATS))] if rng.random() < 0.7 else [str(kind) for kind in rng.choice(FORMATS, 3)]
    hurt = rng.random() < 0.3
    case.traits["images"] = kinds[0] if len(kinds) == 1 else "several"
    case.traits["damage"] = "some" if hurt else "none"
    pictures, number = [], 0
    for folder in folders:
        for label in names:
            for position in range(int(rng.integers(3, 7))):
                kind = str(rng.choice(kinds))
                good = position < 2 or not hurt or rng.random() > 0.25
                data = image(rng, kind) if good else damaged(rng, str(rng.choice(DAMAGES)))
                ending = str(rng.choice(ENDINGS.get(kind, (".png",))))
                pictures.append(Picture(folder, label, f"{number:04d}", ending, data, good))
                number += 1
    return pictures


def add(case: Case, path: str, picture: Picture, split: str | None = None) -> None:
    """Put an image at a path."""
    case.files[path] = picture.data
    case.truth[path] = (picture.split if split is None else split, picture.label) if picture.good else None


def beside(rng: np.random.Generator, case: Case) -> None:
    """Leftovers, other files, images without a label, and folders around the data set."""
    if case.traits["layout"] == "split/class" and rng.random() < 0.3:
        for number in range(3):
            path = f"{rng.choice(['unlabeled', 'docs/fig', 'pred', 'sample_images'])}/{number}.jpg"
            case.files[path] = image(rng, "JPEG")
            case.told.add(path)
    folders = sorted({path.rpartition("/")[0] for path in case.files})
    for name in rng.choice(JUNK, int(rng.integers(0, 4))):
        case.files["/".join(filter(None, (str(rng.choice(folders)), str(name))))] = b"junk"
    for name in rng.choice(OTHERS, int(rng.integers(0, 3))):
        path = str(name)
        case.files[path] = b"words about it\n"
        case.told.add(path)
    if rng.random() < 0.25:
        wrap = str(rng.choice(["ds", "my data", "archive", "dataset-v2", "Images"]))
        case.files = {f"{wrap}/{path}": data for path, data in case.files.items()}
        case.truth = {f"{wrap}/{path}": truth for path, truth in case.truth.items()}
        case.told = {path if path == "nowhere.png" else f"{wrap}/{path}" for path in case.told}
        case.traits["wrapped"] = "yes"


# Layouts: which split folders, and where images and tables lie.


@dataclass(frozen=True)
class Layout:
    """A way to lay out a data set: its folders of splits, and where images and tables lie."""

    splits: Callable[[np.random.Generator], Sequence[str]]
    write: Callable[[np.random.Generator, Case, Sequence[Picture]], None]


def some_splits(rng: np.random.Generator) -> Sequence[str]:
    return SPLITS[rng.integers(len(SPLITS))]


def no_splits(rng: np.random.Generator) -> Sequence[str]:
    return ("",)


def split_class(rng: np.random.Generator, case: Case, pictures: Sequence[Picture]) -> None:
    middle = str(rng.choice(["", "", "", "images/"]))
    for picture in pictures:
        add(case, f"{picture.folder}/{middle}{picture.label}/{picture.stem}{picture.ending}", picture)


def doubled(rng: np.random.Generator, case: Case, pictures: Sequence[Picture]) -> None:
    for picture in pictures:
        add(case, f"{picture.folder}/{picture.folder}/{picture.label}/{picture.stem}{picture.ending}", picture)


def class_split(rng: np.random.Generator, case: Case, pictures: Sequence[Picture]) -> None:
    for picture in pictures:
        add(case, f"{picture.label}/{picture.folder}/{picture.stem}{picture.ending}", picture)


def class_only(rng: np.random.Generator, case: Case, pictures: Sequence[Picture]) -> None:
    deeper = rng.random() < 0.2
    for picture in pictures:
        inner = f"{picture.label} {int(picture.stem) % 2}/" if deeper else ""
        add(case, f"{picture.label}/{inner}{picture.stem}{picture.ending}", picture)


def folds(rng: np.random.Generator, case: Case, pictures: Sequence[Picture]) -> None:
    pattern = str(rng.choice(["fold{}", "fold_{}", "Fold {}"]))
    for position, picture in enumerate(pictures):
        fold = position % 3
        path = f"{pattern.format(fold)}/{picture.label}/{picture.stem}{picture.ending}"
        add(case, path, picture, "val" if fold == 0 else "train")


def table_text(rng: np.random.Generator, header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, bytes]:
    """Ending and bytes of a table."""
    kind = str(rng.choice(["csv", "csv", "csv", "tsv", "semicolon", "jsonl", "json"]))
    if kind in ("jsonl", "json"):
        records = [dict(zip(header, row, strict=True)) for row in rows]
        text = "\n".join(map(json.dumps, records)) if kind == "jsonl" else json.dumps(records)
        return "." + kind, text.encode()
    out = io.StringIO()
    end = str(rng.choice(["\n", "\r\n"]))
    quoting = csv.QUOTE_ALL if rng.random() < 0.3 else csv.QUOTE_MINIMAL
    delimiter = {"csv": ",", "tsv": "\t", "semicolon": ";"}[kind]
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows([header, *rows])
    encoding = str(rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"]))
    return ".tsv" if kind == "tsv" else ".csv", out.getvalue().encode(encoding)


FILE_HEADERS = ("file", "filename", "file_name", "image", "path", "id", "img", "Image Name")
LABEL_HEADERS = ("label", "class", "Category", "target", "breed", "Label Name")


def one_table(rng: np.random.Generator, case: Case, pictures: Sequence[Picture]) -> None:
    """All images in one folder, with or without a column of splits."""
    folder = str(rng.choice(["images/", "", "train/", "data/imgs/"]))
    with_split = folder != "train/" and rng.random() < 0.5
    drop = rng.random() < 0.3
    more = [str(name) for name in rng.choice(["", "width", "url", "source", "remark"], 2, replace=False)]
    more = more if rng.random() < 0.4 else []
    rows, header = [], [str(rng.choice(FILE_HEADERS)), str(rng.choice(LABEL_HEADERS))]
    for position, picture in enumerate(pictures):
        name = picture.stem + picture.ending
        split = ("train", "train", "val")[position % 3] if with_split else "train" if folder == "train/" else ""
        add(case, folder + name, picture, split)
        named = picture.stem if drop else str(rng.choice([name, folder + name]))
        values = {"": str(position), "width": "24", "url": f"https://x.org/{position}", "source": "web", "remark": ""}
        rows.append([*(values[name] for name in more), named, picture.label, *([split] if with_split else [])])
    if rng.random() < 0.2:
        rows.append([*("" for _ in more), "nowhere.png", pictures[0].label, *(["train"] if with_split else [])])
        case.told.add("nowhere.png")
    ending, data = table_text(rng, more + header + ["split"] * with_split, rows)
    case.files[f"labels{ending}"] = data


def table_for_each_split(rng: np.random.Generator, case: Case, pictures: Sequence[Picture]) -> None:
    inside = rng.random() < 0.5
    for folder in dict.fromkeys(picture.folder for picture in pictures):
        own = [picture for picture in pictures if picture.folder == folder]
        for picture in own:
            add(case, f"{folder}/{picture.stem}{picture.ending}", picture)
        rows = [[picture.stem + picture.ending, picture.label] for picture in own]
        ending, data = table_text(rng, ["file_name", "label"], rows)
        case.files[f"{folder}/metadata{ending}" if inside else f"{folder}{ending}"] = data


def sidecars(rng: np.random.Generator, case: Case, pictures: Sequence[Picture]) -> None:
    for picture in pictures:
        path = f"{picture.folder}/{picture.stem}" if picture.folder else picture.stem
        add(case, path + picture.ending, picture)
        case.files[path + ".json"] = json.dumps({"label": picture.label, "id": int(picture.stem)}).encode()


LAYOUTS: Mapping[str, Layout] = {
    "split/class": Layout(some_splits, split_class),
    "doubled splits": Layout(some_splits, doubled),
    "class/split": Layout(some_splits, class_split),
    "class": Layout(no_splits, class_only),
    "folds": Layout(no_splits, folds),
    "one table": Layout(no_splits, one_table),
    "a table for each split": Layout(some_splits, table_for_each_split),
    "a file beside each image": Layout(some_splits, sidecars),
}


# Containers.


def pack(rng: np.random.Generator, case: Case, folder: Path) -> tuple[str, str]:
    """Write a case to disk: its source, and what stands before its paths there."""
    kind = str(rng.choice(CONTAINERS))
    case.traits["container"] = kind
    if kind == "folder":
        for path, data in case.files.items():
            (folder / "d" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "d" / path).write_bytes(data)
        return f"folder:{folder / 'd'}", ""
    prefix = "top/" if kind == "wrapped zip" else ""
    archive = folder / f"d.{'zip' if 'zip' in kind else kind}"
    if "zip" in kind:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path, data in case.files.items():
                entry = zipfile.ZipInfo("x")
                entry.filename = (prefix + path).replace("/", "\\") if kind == "windows zip" else prefix + path
                packed.writestr(entry, data)
    else:
        archive.write_bytes(compress(kind, tar_of(case.files, "./" if rng.random() < 0.5 else "")))
    return f"archive:{archive}", prefix


def tar_of(files: Mapping[str, bytes], start: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for path, data in files.items():
            member = tarfile.TarInfo(start + path)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return out.getvalue()


def compress(kind: str, data: bytes) -> bytes:
    if kind == "tar.zst":
        import zstandard

        return zstandard.ZstdCompressor().compress(data)
    packers = {"tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}
    return packers[kind](data)


# What must hold.


class Fault(Exception):
    """Something that must not happen."""


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise where it takes too long."""

    def stop(*_: object) -> None:
        raise Fault(f"takes more than {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def read(source: str, options: Mapping[str, str]) -> Manifest | str:
    """The manifest, or why it is refused.

    Raises:
        Fault: an exception that is no clear line, or a manifest that is not read as it was written.
    """
    try:
        with limited(SECONDS):
            manifest = find.open_source(source, options=ReadingOptions(**options)).scan()  # type: ignore[arg-type]
            account = account_of(manifest)
            json.dumps(account.to_json())
    except UserError as error:
        text = str(error)
        if "\n" in text or "; " not in text:
            raise Fault(f"not one line with a remedy: {text!r}") from None
        return text
    except Fault:
        raise
    except Exception as error:
        lines = "".join(traceback.format_exception(error)[-3:])
        raise Fault(f"{type(error).__name__}: {error}\n{lines}") from None
    with tempfile.TemporaryDirectory() as folder:
        manifest.save(Path(folder, "m.csv"))
        again = Manifest.load(Path(folder, "m.csv"))
    tables = ((manifest.items, again.items), (manifest.left_out, again.left_out))
    if any(written.to_dict("list") != read_again.to_dict("list") for written, read_again in tables):
        raise Fault("the manifest is not read as it was written")
    return manifest


def spellings(label: str) -> set[str]:
    """How a class may be called: in NFC, by its name where that is known, without the spaces around a cell."""
    name = unicodedata.normalize("NFC", label)
    return {name, name.strip(), *readable([label]).values()}


def compare(case: Case, manifest: Manifest, prefix: str) -> None:
    """Every image has its split and class, and every file is used or mentioned.

    Raises:
        Fault: one that has not, or is not.
    """
    given = {split for truth in case.truth.values() if truth for split in truth[:1]}
    used = {row.path: (row.split, row.label) for row in manifest.items.itertuples()}
    reasons = dict(zip(manifest.left_out["path"], manifest.left_out["reason"], strict=True))
    for path, truth in case.truth.items():
        path = prefix + path
        if truth is None:
            if path in used:
                raise Fault(f"{path} is damaged and used")
            if path not in reasons:
                raise Fault(f"{path} is damaged and not mentioned")
        elif path not in used:
            raise Fault(f"{path} is left out: {reasons.get(path, 'in silence')}")
        else:
            split, label = used[path]
            if label not in spellings(truth[1]):
                raise Fault(f"{path} is read as {label!r}, not {truth[1]!r}")
            allowed = {"": {"train", "select", "test"}, "train": {"train"}, "val": {"select"}, "test": {"test"}}
            both = {"val", "test"} <= given
            if given - {"train"} and split not in (allowed[truth[0]] if both or truth[0] in ("", "train") else
                                                   {"select", "test"}):  # fmt: skip
                raise Fault(f"{path} of {truth[0]} is read as {split}")
    silent = [path for path in case.told if not {path, prefix + path} & reasons.keys()]
    if silent:
        raise Fault(f"{silent[0]} is not mentioned")
    hidden = sum(is_junk(prefix + path) for path in case.files)
    if manifest.junk != hidden:
        raise Fault(f"{manifest.junk} leftovers are counted, not {hidden}")


def hurt(rng: np.random.Generator, data: bytes) -> bytes:
    """The bytes of a table or an archive, damaged."""
    kind = rng.integers(5)
    start = int(rng.integers(max(1, len(data))))
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + rng.bytes(int(rng.integers(1, 40))) + data[start:]
    if kind == 2:
        return data[:start] + data[start + int(rng.integers(1, 200)) :]
    if kind == 3:
        return data[:start] + bytes(int(rng.integers(1, 600))) + data[start:]
    changed = bytearray(data)
    for position in rng.integers(0, max(1, len(data)), 12):
        if changed:
            changed[position] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def one(seed: int, number: int, folder: Path) -> tuple[Case, str]:
    """Make a case, read it and judge it: the case, and what came out."""
    rng = np.random.default_rng([seed, number])
    case = make(rng)
    damage = number % 3 == 2
    if damage and rng.random() < 0.5:
        for path in [path for path in case.files if path.endswith((".csv", ".tsv", ".json", ".jsonl"))]:
            case.files[path] = hurt(rng, case.files[path])
    source, prefix = pack(rng, case, folder)
    location = Path(source.partition(":")[2])
    if damage and location.is_file():
        location.write_bytes(hurt(rng, location.read_bytes()))
    find.user_cache = lambda: folder / "cache"  # nothing of the user's is read or written
    try:
        result = read(source, case.options)
        if damage:
            return case, "refused" if isinstance(result, str) else "read"
        if isinstance(result, str):
            return case, f"refused: {result.replace(str(folder), '')}"
        compare(case, result, prefix)
    except Fault as fault:
        return case, f"fault: {fault}"
    return case, "read"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="data sets")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} data sets, and no file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one data set, whose traits are printed")
    given = parser.parse_args(arguments)
    count = QUICK if given.quick else given.count
    numbers = [given.only] if given.only is not None else range(count)
    outcomes: dict[str, Counter[str]] = {}
    faults: list[str] = []
    refusals: Counter[str] = Counter()
    for number in numbers:
        folder = Path(tempfile.mkdtemp(prefix="odd-"))
        try:
            case, outcome = one(given.seed, number, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        kind = outcome.partition(":")[0]
        row = f"{case.traits['layout']}{', bytes damaged' if number % 3 == 2 else ''}"
        outcomes.setdefault(row, Counter())[kind] += 1
        if kind == "fault":
            faults.append(f"{number} {case.traits}: {outcome}")
            print(faults[-1])
        elif outcome.startswith("refused:"):
            refusals[outcome] += 1
            print(f"{number} {case.traits}: {outcome}")
    lines = ["| data sets | read right | refused in one line | faults |", "| --- | --- | --- | --- |"]
    for row in sorted(outcomes):
        counts = outcomes[row]
        lines.append(f"| {row} | {counts['read']:,} | {counts['refused']:,} | {counts['fault']:,} |")
    print("\n".join(lines))
    if not given.quick and given.only is None:
        text = f"# Odd data sets\n\n`python benchmarks/odd_datasets.py --count {count} --seed {given.seed}`\n\n"
        RESULTS.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
