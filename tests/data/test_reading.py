"""Data sets as people have them: what each layout, table and container means, and what is refused, not guessed."""

import csv
import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from PIL import Image

from sota_bench.data.account import JUNK, account_of
from sota_bench.data.find import open_source
from sota_bench.data.manifest import Manifest
from sota_bench.data.names import confusable, natural_order
from sota_bench.data.options import ReadingOptions
from sota_bench.data.split_names import split_name
from sota_bench.data.subset import choose
from sota_bench.errors import UserError

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("sota_bench.data.find.user_cache", lambda: tmp_path / "user-cache")


def photo(kind="PNG", side=16):
    out = io.BytesIO()
    small = Image.fromarray(RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    small.resize((side, side), Image.Resampling.BICUBIC).save(out, kind)
    return out.getvalue()


def put(root, path, data=None):
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(photo() if data is None else data)


def fill(root, counts, suffix=".png"):
    for folder, count in counts.items():
        for number in range(count):
            put(root, f"{folder}/{number:03d}{suffix}")
    return root


def table(root, path, rows, delimiter=","):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    put(root, path, text.getvalue().encode())


def read(source, kind="folder", **options):
    return account_of(open_source(f"{kind}:{source}", options=ReadingOptions(**options)).scan())


def totals(account):
    """class -> images, and class -> training images."""
    return ({name: sum(counts.values()) for name, counts in account.classes.items()},
            {name: counts["train"] for name, counts in account.classes.items()})  # fmt: skip


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train", "val"), ("Training", "Validation"), ("TRAIN", "TEST"), ("training_set", "test_set"),
        ("trainset", "devset"),
        ("train_images", "valid_images"), ("seg_train/seg_train", "seg_test/seg_test"), ("Train-2017", "Eval-2017"),
        ("asl_alphabet_train/asl_alphabet_train", "asl_alphabet_test/asl_alphabet_test"), ("ds/train", "ds/dev"),
        ("a/b/train/images", "a/b/test/images"), ("archive/Training", "archive/Testing"),
    ],
)  # fmt: skip
def test_split_folders_of_all_usual_names(tmp_path, train, val):
    fill(tmp_path / "d", {f"{train}/cat": 4, f"{train}/dog": 4, f"{val}/cat": 3, f"{val}/dog": 3})
    assert totals(read(tmp_path / "d")) == ({"cat": 7, "dog": 7}, {"cat": 4, "dog": 4})


def test_select_and_test_are_the_owners_own(tmp_path):
    fill(tmp_path / "d", {f"{split}/{c}": n for split, n in (("train", 4), ("valid", 3), ("test", 2)) for c in "ab"})
    assert read(tmp_path / "d").classes["a"] == {"train": 4, "select": 3, "test": 2}


@pytest.mark.parametrize(
    ("name", "split"),
    [("train", "train"), ("Val_Set", "val"), ("test-000003.tar", "test"), ("trainset", "train"), ("VALIDATION", "val"),
     ("train-00000-of-00002.parquet", "train"), ("holdout", "test"), ("train_test", None), ("rain", None),
     ("contest", None),
     ("testament", None), ("猫train", "family"), ("bullet_train", "family"), ("test_tube", "family")],
)  # fmt: skip
def test_names_of_splits(name, split):
    meaning = split_name(name)
    if split in (None, "family"):
        assert meaning is None or (split == "family" and not meaning.plain)
    else:
        assert (meaning.split, meaning.plain) == (split, True)


def test_a_train_beside_cars_and_buses_is_a_vehicle(tmp_path):
    fill(tmp_path / "d", {"train": 6, "car": 6, "bus": 6})
    assert list(read(tmp_path / "d").classes) == ["bus", "car", "train"]


def test_class_names_that_hold_words_of_splits_are_classes(tmp_path):
    fill(tmp_path / "d", {"test_tube": 6, "bullet_train": 6, "beaker": 6})
    assert list(read(tmp_path / "d").classes) == ["beaker", "bullet_train", "test_tube"]


def test_splits_inside_classes(tmp_path):
    fill(tmp_path / "d", {"cat/train": 4, "cat/val": 3, "dog/train": 4, "dog/val": 3})
    assert totals(read(tmp_path / "d"))[1] == {"cat": 4, "dog": 4}


def test_folds_judge_by_the_first(tmp_path):
    fill(tmp_path / "d", {f"fold{n}/{c}": 3 for n in range(4) for c in ("cat", "dog")})
    account = read(tmp_path / "d")
    assert totals(account) == ({"cat": 12, "dog": 12}, {"cat": 9, "dog": 9})
    assert any("fold0 judges" in note for note in account.notes)


def test_the_data_set_below_other_folders(tmp_path):
    inside = {"ds/train/cat": 4, "ds/train/dog": 4, "ds/val/cat": 3, "ds/val/dog": 3}
    fill(tmp_path / "d", {**inside, "docs/fig": 1, "x/y": 2})
    account = read(tmp_path / "d")
    assert totals(account)[0] == {"cat": 7, "dog": 7}
    assert account.left_out == {"outside the data set": 3}
    assert any("outside" in alarm for alarm in account.alarms)
    fill(tmp_path / "e", {"ds/cat": 5, "ds/dog": 5, "docs/fig": 1})
    assert totals(read(tmp_path / "e"))[0] == {"cat": 5, "dog": 5}


def test_what_lies_in_no_split_is_told(tmp_path):
    fill(tmp_path / "d", {"seg_train/a": 4, "seg_train/b": 4, "seg_test/a": 3, "seg_test/b": 3, "seg_pred/seg_pred": 5})
    account = read(tmp_path / "d")
    assert account.left_out == {"in no split folder": 5}
    assert any("5 images" in alarm and "seg_pred" in alarm for alarm in account.alarms)


def test_training_images_alone_give_images_to_judge_by_and_it_is_told(tmp_path):
    fill(tmp_path / "d", {"train/cat": 30, "train/dog": 30})
    account = read(tmp_path / "d")
    assert min(count for counts in account.classes.values() for count in counts.values()) > 0
    assert any("15%" in alarm for alarm in account.alarms)


@pytest.mark.parametrize(
    ("counts", "names", "key"),
    [
        ({"images": 6, "masks": 6}, "masks/", "data.folders"),
        ({"train/images": 4, "train/masks": 4, "val/images": 4, "val/masks": 4}, "masks/", "data.folders"),
        ({"color/a": 3, "color/b": 3, "gray/a": 3, "gray/b": 3}, "color/ and gray/", "data.root"),
        ({"train": 6, "test": 6}, "test/, train/", "data.labels"),
        ({"train": 6, "validation": 3, "x": 2}, "train/, validation/", "data.folders"),
        ({"test": 3, "cat": 6, "dog": 6}, "test/", "data.folders"),
        ({"animals/cat": 3, "animals/dog": 3, "things/cup": 3, "things/pen": 3}, "animals/", "data.root"),
        ({"one/train/a": 2, "one/train/b": 2, "two/train/a": 2, "two/train/b": 2}, "one/, two/", "data.root"),
        ({".": 6}, "one folder", "data.labels"),
        ({"train/Cat": 3, "train/dog": 3, "val/cat": 3, "val/dog": 3}, "did you mean", "data.folders"),
        ({"ds/cat": 5, "ds/dog": 5, "pics": 3}, "ds/", "data.root"),
    ],
)  # fmt: skip
def test_a_guess_that_could_be_wrong_is_refused_with_the_key_that_decides(tmp_path, counts, names, key):
    fill(tmp_path / "d", counts)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "d")
    line = str(caught.value)
    assert "\n" not in line
    assert names in line
    assert key in line


def test_the_keys_decide(tmp_path):
    fill(tmp_path / "a", {"images": 6, "masks": 6, "more": 6})
    assert list(read(tmp_path / "a", folders={"masks": "skip"}).classes) == ["images", "more"]
    fill(tmp_path / "b", {"color/a": 3, "color/b": 3, "gray/a": 3, "gray/b": 3})
    account = read(tmp_path / "b", root="color")
    assert list(account.classes) == ["a", "b"]
    assert account.left_out == {"outside the data set": 6}
    assert list(read(tmp_path / "b", folders={"color": "class", "gray": "class"}).classes) == ["color", "gray"]
    fill(tmp_path / "c", {"erste/a": 4, "erste/b": 4, "zweite/a": 3, "zweite/b": 3})
    assert totals(read(tmp_path / "c", folders={"erste": "train", "zweite": "test"}))[1] == {"a": 4, "b": 4}
    fill(tmp_path / "d", {"train/A": 3, "train/a": 3, "val/A": 3, "val/a": 3})
    assert list(read(tmp_path / "d", folders={"a": "class", "A": "class"}).classes) == ["A", "a"]
    with pytest.raises(UserError, match="no role"):
        ReadingOptions(folders={"a": "trian"})
    with pytest.raises(UserError, match=r"data\.root"):
        read(tmp_path / "a", root="absent")


def labelled(root, folder="train", count=12, suffix=".png"):
    rows = [(f"{number:04d}{suffix}", ("cat", "dog")[number % 2]) for number in range(count)]
    for name, _ in rows:
        put(root, f"{folder}/{name}")
    return rows


def test_a_flat_folder_with_its_table(tmp_path):
    rows = labelled(tmp_path / "d")
    fill(tmp_path / "d", {"test": 5})
    table(tmp_path / "d", "train.csv", [("id", "label"), *rows])
    table(tmp_path / "d", "sample_submission.csv", [("id", "label"), *((f"{n:03d}.png", "cat") for n in range(5))])
    account = read(tmp_path / "d")
    assert totals(account)[0] == {"cat": 6, "dog": 6}
    assert account.left_out == {"no label": 5, "not an image": 1}
    assert any("5 images are left out" in alarm and "no label" in alarm for alarm in account.alarms)


@pytest.mark.parametrize(
    ("head", "change"),
    [
        (("id", "breed"), lambda name, label: (name.removesuffix(".png"), label)),
        (("image_id", "width", "Class Name"), lambda name, label: (f"train/{name}", "16", label)),
        (("label", "file_name"), lambda name, label: (label, f"./train\\{name}")),
        (("img", "label_id", "label_name"), lambda name, label: (name, str(int(label == "dog")), label)),
        (("name", "cat", "dog"), lambda name, label: (name, int(label == "cat"), int(label == "dog"))),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_are_found(tmp_path, head, change, delimiter):
    rows = labelled(tmp_path / "d")
    table(tmp_path / "d", "labels.csv", [head, *(change(*row) for row in rows)], delimiter)
    assert totals(read(tmp_path / "d"))[0] == {"cat": 6, "dog": 6}


def test_a_list_of_files_and_labels_needs_no_head(tmp_path):
    rows = labelled(tmp_path / "d", "pictures")
    put(tmp_path / "d", "list.txt", "\n".join(f"pictures/{name} {label}" for name, label in rows).encode())
    assert totals(read(tmp_path / "d"))[0] == {"cat": 6, "dog": 6}


def test_splits_of_a_table(tmp_path):
    rows = labelled(tmp_path / "d", "all")
    split = [("path", "label", "split"), *((*row, ("train", "Validation")[n > 7]) for n, row in enumerate(rows))]
    table(tmp_path / "d", "t.csv", split)
    assert totals(read(tmp_path / "d"))[1] == {"cat": 4, "dog": 4}
    table(tmp_path / "d", "t.csv", [("path", "label", "is_valid"), *((*row, n > 7) for n, row in enumerate(rows))])
    assert totals(read(tmp_path / "d"))[1] == {"cat": 4, "dog": 4}


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_metadata_of_each_split(tmp_path, name):
    for split, count in (("train", 12), ("validation", 6)):
        rows = labelled(tmp_path / "d", split, count)
        if name.endswith(".csv"):
            table(tmp_path / "d", f"{split}/{name}", [("file_name", "label"), *rows])
        else:
            lines = [json.dumps({"file_name": file, "label": label, "boxes": [1]}) for file, label in rows]
            put(tmp_path / "d", f"{split}/{name}", "\n".join(lines).encode())
    assert totals(read(tmp_path / "d")) == ({"cat": 9, "dog": 9}, {"cat": 6, "dog": 6})


def noisy(root):
    """Class folders with a table of further labels, as fastai's Imagenette has it."""
    fill(root, {"train/cat": 6, "train/dog": 6, "val/cat": 3, "val/dog": 3})
    rows = [("path", "noisy_labels_0", "noisy_labels_50", "is_valid")]
    for path in sorted(root.rglob("*.png")):
        split, label, name = path.relative_to(root).parts
        wrong = "dog" if (split, label, name) == ("train", "cat", "000.png") else label
        rows.append((f"{split}/{label}/{name}", label, wrong, split == "val"))
    table(root, "noisy_imagenette.csv", rows)
    return root


def test_a_column_chooses_among_several_labels(tmp_path):
    root = noisy(tmp_path / "d")
    assert totals(read(root))[1] == {"cat": 6, "dog": 6}
    for column, cats in (("noisy_labels_0", 6), ("noisy_labels_50", 5)):
        account = read(root, labels="noisy_imagenette.csv", label_column=column)
        assert totals(account) == ({"cat": cats + 3, "dog": 15 - cats}, {"cat": cats, "dog": 12 - cats})


def test_training_labels_with_noise_can_be_chosen(tmp_path):
    """The images are the same, and those that judge keep their labels."""
    manifest = open_source(f"folder:{noisy(tmp_path / 'd')}").scan()
    assert manifest.other_labels == ["noisy_labels_0", "noisy_labels_50"]
    manifest.save(tmp_path / "manifest.csv")
    stored = Manifest.load(tmp_path / "manifest.csv")
    assert stored.digest == manifest.digest
    plain, clean, wrong = (choose(stored, train_labels=column) for column in ("", "noisy_labels_0", "noisy_labels_50"))
    assert plain.digest == clean.digest
    assert (plain.targets("train") != wrong.targets("train")).sum() == 1
    assert plain.contents("train") == wrong.contents("train")
    assert plain.split_digest("select") == wrong.split_digest("select")
    assert plain.split_digest("train") != wrong.split_digest("train")
    with pytest.raises(UserError, match="did you mean noisy_labels_50"):
        choose(stored, train_labels="noisy_labels_5O")


def test_tables_that_contradict_the_folders_are_refused(tmp_path):
    root = tmp_path / "d"
    fill(root, {"part_1": 6, "part_2": 6})
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    table(root, "meta.csv", [("image", "age", "dx"), *((name, n, "abcd"[n % 4]) for n, name in enumerate(names))])
    with pytest.raises(UserError, match=r"data\.labels") as caught:
        read(root)
    assert "dx" in str(caught.value)
    assert list(read(root, label_column="dx").classes) == ["a", "b", "c", "d"]
    assert list(read(root, labels="folders").classes) == ["part_1", "part_2"]
    for options, key in (({"labels": "mta.csv"}, "data.labels"), ({"label_column": "d"}, "data.label_column"),
                         ({"labels": "meta.csv", "file_column": "x"}, "data.file_column")):  # fmt: skip
        with pytest.raises(UserError, match=key):
            read(root, **options)


def test_columns_that_could_all_be_labels_are_refused(tmp_path):
    rows = labelled(tmp_path / "d")
    table(tmp_path / "d", "t.csv", [("id", "label", "category"), *((*row, n % 3) for n, row in enumerate(rows))])
    with pytest.raises(UserError, match=r"data\.label_column: .*label, category"):
        read(tmp_path / "d")


def test_a_table_labels_what_lies_in_no_class_folder(tmp_path):
    """As Tiny ImageNet has it: class folders to train, and a flat folder with a list to judge by."""
    fill(tmp_path / "d", {"train/n01/images": 5, "train/n02/images": 5, "val/images": 6, "test/images": 3})
    rows = [f"{n:03d}.png\t{('n01', 'n02')[n % 2]}\t0\t0\t63\t63" for n in range(6)]
    put(tmp_path / "d", "val/val_annotations.txt", "\n".join(rows).encode())
    account = read(tmp_path / "d")
    assert totals(account) == ({"n01": 8, "n02": 8}, {"n01": 5, "n02": 5})
    assert account.left_out == {"no label": 3}


def test_tables_without_labels_leave_class_folders_as_they_are(tmp_path):
    fill(tmp_path / "d", {"train/cat": 6, "train/dog": 6})
    names = [(f"{label}/{n:03d}.png", f"a photo of {label} {n}") for label in ("cat", "dog") for n in range(6)]
    table(tmp_path / "d", "train/metadata.csv", [("file_name", "text"), *names])
    assert totals(read(tmp_path / "d"))[0] == {"cat": 6, "dog": 6}


def test_folds_and_unclear_splits_in_a_table(tmp_path):
    rows = labelled(tmp_path / "d")
    for name, expected in (("fold", {"cat": 4, "dog": 4}), ("split", None)):
        table(tmp_path / "d", "t.csv", [("id", "label", name), *((*row, n // 2 % 3) for n, row in enumerate(rows))])
        account = read(tmp_path / "d")
        if expected:
            assert totals(account)[1] == expected
        else:
            assert any("Column split" in alarm and "'0'" in alarm for alarm in account.alarms)


def test_rows_without_images_and_without_labels_are_told(tmp_path):
    rows = labelled(tmp_path / "d")
    rows[0] = (rows[0][0], "")
    table(tmp_path / "d", "t.csv", [("id", "label"), *rows, ("gone.png", "cat")])
    account = read(tmp_path / "d")
    assert account.left_out == {"no label": 1, "no such image": 1}
    assert any("gone.png" in alarm for alarm in account.alarms)


JUNK_PATHS = [
    "train/.ipynb_checkpoints/1.png", "__MACOSX/train/a/._1.png", "train/a/._2.png", "train/a/Thumbs.db",
    "@eaDir/a/1.png", "$RECYCLE.BIN/1.png", "lost+found/1.png", "train/a/.DS_Store", "desktop.ini", ".git/objects/1",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "tar", "tgz", "zip"])
def test_junk_is_junk_everywhere(tmp_path, kind):
    root = fill(tmp_path / "d", {"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2})
    for path in JUNK_PATHS:
        put(root, path)
    source = root
    if kind == "zip":
        source = tmp_path / "d.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in root.rglob("*"):
                archive.write(path, path.relative_to(root))
    elif kind != "folder":
        source = tmp_path / f"d.{kind}"
        with tarfile.open(source, "w:gz" if kind == "tgz" else "w") as archive:
            archive.add(root, ".")
    account = read(source, "folder" if kind == "folder" else "archive")
    assert list(account.classes) == ["a", "b"]
    assert account.left_out == {JUNK: len(JUNK_PATHS)}
    assert account.left_out_files == []


def test_archives_of_windows_tools(tmp_path):
    path = tmp_path / "d.zip"
    with zipfile.ZipFile(path, "w") as archive:
        images = (f"ds\\{split}\\{label}\\{n}.png" for split in ("train", "val") for label in "ab" for n in range(3))
        for name in ("ds\\", "ds\\train\\", *images):
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, b"" if name.endswith("\\") else photo())
    assert totals(read(path, "archive"))[0] == {"a": 6, "b": 6}


@pytest.mark.parametrize("name", ["train/a", "train/a/0.png/x.png", f"train/a/{'x' * 300}.png"])
def test_members_that_cannot_lie_beside_each_other_are_named(tmp_path, name):
    path = tmp_path / "d.zip"
    with zipfile.ZipFile(path, "w") as archive:
        images = [f"{split}/{label}/{n}.png" for split in ("train", "val") for label in "ab" for n in range(3)]
        for member in [*images, name]:
            archive.writestr(member, photo())
    account = read(path, "archive")
    assert account.used == 12
    assert account.left_out == {"cannot be unpacked": 1}
    assert account.left_out_files[0]["path"] == name


def test_encrypted_members_are_one_line_with_a_remedy_that_helps(tmp_path):
    path = tmp_path / "d.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/a/1.png", photo())
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="encrypted") as caught:
        read(path, "archive")
    assert "password" in caught.value.remedy


def test_the_archive_is_known_by_its_content_and_alone_in_its_folder(tmp_path):
    root = fill(tmp_path / "d", {"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2})
    (tmp_path / "download").mkdir()
    wrong_name = tmp_path / "download" / "d.tgz"
    with zipfile.ZipFile(wrong_name, "w") as archive:
        for path in root.rglob("*.png"):
            archive.write(path, path.relative_to(root))
    for account in (read(wrong_name, "archive"), read(tmp_path / "download")):
        assert totals(account)[0] == {"a": 5, "b": 5}


def test_zstandard(tmp_path):
    root = fill(tmp_path / "d", {"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2})
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        archive.add(root, "d")
    path = tmp_path / "d.tar.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(plain.getvalue()))
    assert totals(read(path, "archive"))[0] == {"a": 5, "b": 5}


TABLES = {
    "a comment first": "# made by hand\nfile,label\n{comma}",
    "a spreadsheet's first line": "sep=;\nfile;label\n{semicolon}",
    "numbers without zeros": "id,label\n{number}",
    "another ending": "file,label\n{jpg}",
    "a column named #": "#,file,label\n{counted}",
    "short rows": "file,label,remark\n{comma}",
}
LINES = {
    "comma": "{0:03d}.png,{1}", "counted": "{0},{0:03d}.png,{1}", "semicolon": "{0:03d}.png;{1}", "number": "{0},{1}",
    "jpg": "{0:03d}.JPG,{1}",
}  # fmt: skip
"""One row of each table: of its number and its label."""


@pytest.mark.parametrize("kind", TABLES)
def test_tables_as_people_write_them(tmp_path, kind):
    fill(tmp_path / "d", {"images": 12})
    rows = {name: "\n".join(line.format(n, ("cat", "dog")[n % 2]) for n in range(12)) for name, line in LINES.items()}
    put(tmp_path / "d", "labels.csv", TABLES[kind].format(**rows).encode())
    account = read(tmp_path / "d")
    assert {name: sum(counts.values()) for name, counts in account.classes.items()} == {"cat": 6, "dog": 6}
    assert account.left_out == {}


def test_numbers_of_rows_are_no_names_of_images(tmp_path):
    """In a shuffled table with the index that pandas writes, the index names other images than the file."""
    fill(tmp_path / "d", {"images": 12})
    rows = [(row, f"{11 - row:03d}", ("cat", "dog")[row % 2], "x") for row in range(12)]
    table(tmp_path / "d", "labels.csv", [("", "image", "label", "remark"), *rows])
    manifest = open_source(f"folder:{tmp_path / 'd'}").scan()
    labels = dict(zip(manifest.items["path"], manifest.items["label"], strict=True))
    assert labels == {f"images/{number:03d}.png": ("dog", "cat")[number % 2] for number in range(12)}
    table(tmp_path / "d", "labels.csv", [("", "label"), *((row, label) for row, _, label, _ in rows)])
    with pytest.raises(UserError, match="their labels are unknown"):
        read(tmp_path / "d")


@pytest.mark.parametrize("turned", [False, True])
def test_json_by_class_and_by_column(tmp_path, turned):
    fill(tmp_path / "d", {"images": 12})
    names = [f"{number:03d}.png" for number in range(12)]
    by_class = {"cat": names[::2], "dog": names[1::2]}
    by_column = {"file_name": dict(enumerate(names)), "label": {n: ("cat", "dog")[n % 2] for n in range(12)}}
    put(tmp_path / "d", "labels.json", json.dumps(by_column if turned else by_class).encode())
    account = read(tmp_path / "d")
    assert {name: sum(counts.values()) for name, counts in account.classes.items()} == {"cat": 6, "dog": 6}


@pytest.mark.parametrize(
    ("tables", "options", "problem"),
    [
        ({"a.csv": "{n:03d}.png,c{n}"}, {}, "data.label_column: column label of a.csv has 12 values in 12 rows"),
        ({"a.csv": "{n:03d}.png,{half}", "b.csv": "{n:03d}.png,x{third}"}, {}, "data.labels: a.csv and b.csv give"),
        ({"a.csv": "{n:03d}.png,x{half}"}, {"file_column": "label"}, "data.file_column: no table has a column 'label'"),
    ],
)
def test_tables_that_could_be_misread_are_refused(tmp_path, tables, options, problem):
    fill(tmp_path / "d", {"images": 12})
    for name, line in tables.items():
        rows = [line.format(n=number, half=number % 2, third=number % 3) for number in range(12)]
        put(tmp_path / "d", name, "\n".join(["file,label", *rows]).encode())
    with pytest.raises(UserError) as caught:
        read(tmp_path / "d", **options)
    assert problem in str(caught.value)


def test_a_table_whose_names_are_those_of_several_images_is_refused(tmp_path):
    """Otherwise the two folders would be read as classes, and the table as no image."""
    fill(tmp_path / "d", {"part1": 6, "part2": 6})
    table(tmp_path / "d", "labels.csv", [("file", "label"), *((f"{n:03d}.png", n % 2) for n in range(6))])
    with pytest.raises(UserError, match=r"data\.file_column: .* which of 2 images .*part1/000\.png and part2/000\.png"):
        read(tmp_path / "d")
    assert list(read(tmp_path / "d", labels="folders").classes) == ["part1", "part2"]


def test_values_beside_splits_in_a_column_are_refused(tmp_path):
    fill(tmp_path / "d", {"images": 9})
    rows = [(f"{n:03d}.png", n % 2, ("train", "val", "unlabelled")[n % 3]) for n in range(9)]
    table(tmp_path / "d", "labels.csv", [("file", "label", "split"), *rows])
    with pytest.raises(UserError, match=r"data\.split_column: .* holds splits, and 'unlabelled'"):
        read(tmp_path / "d")


def test_lists_of_files_divide_class_folders(tmp_path):
    """As Food-101 does, without endings."""
    fill(tmp_path / "d", {"images/cat": 6, "images/dog": 6})
    put(tmp_path / "d", "images/cat/extra.png")
    for name, numbers in (("train.txt", range(4)), ("test.txt", range(4, 6))):
        lines = [f"{label}/{number:03d}" for label in ("cat", "dog") for number in numbers]
        put(tmp_path / "d", f"meta/{name}", "\n".join(lines).encode())
    account = read(tmp_path / "d")
    assert totals(account) == ({"cat": 6, "dog": 6}, {"cat": 4, "dog": 4})
    assert account.left_out == {"in no list of a split": 1}


def test_an_image_of_two_tables_stays_in_the_earlier_split(tmp_path):
    fill(tmp_path / "d", {"images": 12})
    for name, numbers in (("test.csv", range(6, 12)), ("train.csv", range(7))):
        table(tmp_path / "d", name, [("file", "label"), *((f"{n:03d}.png", n % 2) for n in numbers)])
    account = read(tmp_path / "d")
    assert account.sizes()["train"] == 7
    assert any("1 image is in two splits, such as images/006.png" in alarm for alarm in account.alarms)


def test_folders_without_end_are_left_out(tmp_path):
    root = fill(tmp_path / "d", {"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2})
    deep = "train/a/" + "x/" * 150
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        archive.add(root, "d")
        member = tarfile.TarInfo(f"d/{deep}1.png")
        member.size = len(data := photo())
        archive.addfile(member, io.BytesIO(data))
    packed = tmp_path / "p.tar.gz"
    packed.write_bytes(gzip.compress((tmp_path / "d.tar").read_bytes()))
    put(root, f"{deep}1.png")
    for source, kind in ((root, "folder"), (tmp_path / "d.tar", "archive"), (packed, "archive")):
        account = read(source, kind)
        assert account.left_out == {"more than 100 folders deep": 1}
        assert account.used == 10


def test_an_error_about_an_archive_names_the_archive(tmp_path):
    root = fill(tmp_path / "d", {"images": 2, "masks": 2})
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for path in root.rglob("*.png"):
            archive.write(path, path.relative_to(root))
    with pytest.raises(UserError, match=r"^\S+/d\.zip: .*data\.folders = \{\"masks\" = \"skip\"\}"):
        read(tmp_path / "d.zip", "archive")


def shards(root, names=("train-000000", "train-000001", "val-000000"), cls=True, js=True):
    root.mkdir(parents=True)
    for name in names:
        with tarfile.open(root / f"{name}.tar", "w") as archive:
            for number in range(6):
                label = number % 2
                parts = [("jpg", photo("JPEG"))]
                parts += [("cls", str(label).encode())] if cls else []
                parts += [("json", json.dumps({"label": ("cat", "dog")[label], "n": number}).encode())] if js else []
                for ending, data in parts:
                    member = tarfile.TarInfo(f"{number:06d}.{ending}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return root


@pytest.mark.parametrize(("cls", "js", "names"), [(True, True, ["cat", "dog"]), (False, True, ["cat", "dog"]),
                                                 (True, False, ["0", "1"])])  # fmt: skip
def test_webdataset_shards(tmp_path, cls, js, names):
    root = shards(tmp_path / "d", cls=cls, js=js)
    account = read(root)
    assert totals(account) == (dict.fromkeys(names, 9), dict.fromkeys(names, 6))
    assert account.left_out == {}
    source = open_source(f"folder:{root}")
    path = source.scan().items["path"].iloc[0]
    from sota_bench.data.specs import source_from_spec

    assert source_from_spec(source.spec).decode(path, 8).shape == (8, 8, 3)


def test_a_range_of_shards(tmp_path):
    root = shards(tmp_path / "d", ("000", "001", "002"))
    assert sum(totals(read(root / "{000..001}.tar", "archive"))[0].values()) == 12


def test_parquet(tmp_path):
    labels = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    about = {"info": {"features": {"img": {"_type": "Image"}, "fine": labels}}}
    for split, count in (("train", 8), ("test", 4)):
        images = [{"bytes": photo("JPEG"), "path": None} for _ in range(count)]
        columns = pa.table({"img": images, "fine": pa.array([n % 2 for n in range(count)])})
        columns = columns.replace_schema_metadata({"huggingface": json.dumps(about)})
        (tmp_path / "d/data").mkdir(parents=True, exist_ok=True)
        pq.write_table(columns, tmp_path / f"d/data/{split}-00000-of-00001.parquet", row_group_size=3)
    account = read(tmp_path / "d")
    assert totals(account) == ({"cat": 6, "dog": 6}, {"cat": 4, "dog": 4})
    from sota_bench.data.specs import source_from_spec

    source = open_source(f"folder:{tmp_path / 'd'}")
    items = source.scan().items
    clone = source_from_spec(source.spec)
    assert clone.decode(items["path"].iloc[5], 8, items["sha256"].iloc[5]).shape == (8, 8, 3)


def test_classes_that_are_numbers_are_in_natural_order(tmp_path):
    fill(tmp_path / "d", {f"{n}": 4 for n in (10, 9, 2, 1, 100)})
    assert list(read(tmp_path / "d").classes) == ["1", "2", "9", "10", "100"]
    assert natural_order(["b10", "b9", "a", "²", "007", "7"]) == ["007", "7", "a", "b9", "b10", "²"]


@pytest.mark.parametrize("name", ["NA", "None", "1e3", "nan", "猫 🐈", "عربي", "true", "#x", " "])
def test_any_name_is_just_a_name(tmp_path, name):
    rows = [(f"{n:04d}.png", (name, "dog")[n % 2]) for n in range(12)]
    for file, _ in rows:
        put(tmp_path / "d", f"train/{file}")
    table(tmp_path / "d", "train.csv", [("id", "label"), *rows])
    if name.strip():
        assert set(read(tmp_path / "d").classes) == {name, "dog"}
        fill(tmp_path / "e", {f"train/{name}": 3, "train/dog": 3, f"val/{name}": 3, "val/dog": 3})
        assert set(read(tmp_path / "e").classes) == {name, "dog"}
    else:
        with pytest.raises(UserError, match="only one class"):
            read(tmp_path / "d")


def test_names_are_compared_in_one_unicode_form(tmp_path):
    fill(tmp_path / "d", {"train/e\u0301": 3, "train/b": 3, "val/\u00e9": 3, "val/b": 3})
    assert totals(read(tmp_path / "d"))[0] == {"\u00e9": 6, "b": 6}
    assert confusable(["Cat", "cat ", "dog", "DOG"]) == [("Cat", "cat "), ("DOG", "dog")]


def test_images_are_known_by_their_content(tmp_path):
    root = tmp_path / "d"
    for number in range(6):
        put(root, f"train/cat/{number}.jfif", photo("JPEG"))
        put(root, f"train/cat/{number}_x", photo("JPEG"))
        put(root, f"train/dog/{number}.AVIF", photo("AVIF"))
        put(root, f"train/dog/{number}.jpg_large", photo("WEBP"))
        put(root, f"train/dog/{number}.png", photo("TIFF"))
    put(root, "train/dog/notes.bin", b"hello")
    account = read(root)
    assert totals(account)[0] == {"cat": 12, "dog": 18}
    assert account.left_out == {"not an image": 1}


def grey16(values):
    out = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(out, "PNG")
    return out.getvalue()


def test_deep_images_are_on_one_scale_that_is_part_of_their_content(tmp_path):
    for split in ("train", "val"):
        for label, level in (("cat", 500), ("dog", 2500)):
            for number in range(4):
                values = RNG.normal(level, 100, (12, 12)).clip(0, 4095)
                put(tmp_path / "d", f"{split}/{label}/{number}.png", grey16(values))
    source = open_source(f"folder:{tmp_path / 'd'}")
    items = source.scan().items
    assert set(items["scale"]) == {"0.0:4095.0"}
    means = {}
    for row in items.itertuples():
        low, high = (float(part) for part in row.scale.split(":"))
        means.setdefault(row.label, []).append(source.decode(row.path, 12, row.sha256, (low, high)).mean())
    assert pytest.approx(np.mean(means["cat"]), abs=3) == 31
    assert pytest.approx(np.mean(means["dog"]), abs=3) == 156
    given = open_source(f"folder:{tmp_path / 'd'}", options=ReadingOptions(pixel_range=(0.0, 9999.0))).scan().items
    assert set(given["scale"]) == {"0.0:9999.0"}
    assert not set(given["sha256"]) & set(items["sha256"])


def test_alarms_name_the_class_the_number_the_reason_and_a_file(tmp_path):
    fill(tmp_path / "d", {"train/cat": 20, "train/dog": 20, "val/cat": 8, "val/dog": 8, "train/sea": 0, "val/sea": 2})
    for number in range(6):
        put(tmp_path / "d", f"train/dog/{number:03d}.png", b"<!DOCTYPE html><title>404</title>")
    put(tmp_path / "d", "train/sea/1.png", b"version https://git-lfs.github.com/spec/v1\n")
    account = read(tmp_path / "d")
    [lost] = [alarm for alarm in account.alarms if "'dog' loses" in alarm]
    assert all(part in lost for part in ("6 of its 28 files", "train/dog/000.png", "not a readable image"))
    [gone] = [alarm for alarm in account.alarms if "'sea'" in alarm]
    assert "train/sea/1.png" in gone
    assert "LFS" in gone
    assert set(account.classes) == {"cat", "dog"}
    assert account.left_out == {"not a readable image": 7, "class without training images": 2}


def test_alarms_about_labels_splits_and_rare_classes(tmp_path):
    root = fill(tmp_path / "d", {"train/a": 60, "train/b": 60, "train/c": 1, "val/a": 30, "val/b": 30})
    put(root, "train/b/same.png", (root / "train/a/000.png").read_bytes())
    text = " ".join(read(root).alarms)
    for part in ("two labels", "lacks class 'c'", "Class 'c' has few of the images", "60 times"):
        assert part in text
    clean = fill(tmp_path / "e", {"train/a": 30, "train/b": 30, "val/a": 60, "val/b": 60})
    assert read(clean).alarms == []


def pictures(count):
    """Photographs with large shapes, each of them in several encodings."""
    for _ in range(count):
        small = Image.fromarray(RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        image = small.resize((96, 96), Image.Resampling.BICUBIC)
        encodings = []
        for quality, side in ((95, 96), (60, 96), (85, 64), (75, 80)):
            out = io.BytesIO()
            image.resize((side, side), Image.Resampling.LANCZOS).save(out, "JPEG", quality=quality)
            encodings.append(out.getvalue())
        yield encodings


def test_near_copies_are_told_and_stay_on_one_side(tmp_path):
    for label in ("cat", "dog"):
        for number, encodings in enumerate(pictures(12)):
            for copy, data in enumerate(encodings):
                put(tmp_path / "d", f"{label}/{number}_{copy}.jpg", data)
    account = read(tmp_path / "d")
    assert sorted(len(group) for group in account.near_copies) == [4] * 24
    items = open_source(f"folder:{tmp_path / 'd'}").scan().items
    assert (items.groupby("near_copies")["split"].nunique() == 1).all()
    assert not [alarm for alarm in account.alarms if "look the same" in alarm]


def test_near_copies_across_the_owners_splits_are_an_alarm(tmp_path):
    for number, encodings in enumerate(pictures(6)):
        put(tmp_path / "d", f"train/{'ab'[number % 2]}/{number}.jpg", encodings[0])
        put(tmp_path / "d", f"val/{'ab'[number % 2]}/{number}.jpg", encodings[1])
    account = read(tmp_path / "d")
    assert len(account.near_copies) == 6
    assert any("6 groups" in alarm and "more than one split" in alarm for alarm in account.alarms)
