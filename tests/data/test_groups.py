"""What belongs together stays in one split: by a column or a part of the path, with near copies, for any sizes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sota_bench.data.account import account_of
from sota_bench.data.assembly import assemble
from sota_bench.data.find import open_source
from sota_bench.data.manifest import Manifest, ScannedImage
from sota_bench.data.options import ReadingOptions
from sota_bench.data.split import divide, halve
from sota_bench.errors import UserError

RNG = np.random.default_rng(11)
PATTERN = "(p[0-9]+)_"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sota_bench.data.find.user_cache", lambda: tmp_path / "user-cache")


def put(root: Path, path: str, content: bytes | None = None) -> None:
    if content is None:
        pixels = Image.fromarray(RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        pixels.save(out := io.BytesIO(), "PNG")
        content = out.getvalue()
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


def write_table(root: Path, path: str, rows: Sequence[Sequence[str]]) -> None:
    csv.writer(text := io.StringIO()).writerows(rows)
    put(root, path, text.getvalue().encode())


def scan(root: Path, **options: str) -> Manifest:
    return open_source(f"folder:{root}", options=ReadingOptions(**options)).scan()


def patients(root: Path, folders: Sequence[str], count: int = 12, images: int = 4) -> Path:
    """Each patient's images in turn in each of the folders."""
    for patient in range(count):
        for number in range(images):
            put(root, f"{folders[(patient + number) % len(folders)]}/p{patient:02d}_{number}.png")
    return root


def whole(manifest: Manifest) -> bool:
    grouped = manifest.items[manifest.items["group"] != ""]
    return bool(len(grouped)) and bool((grouped.groupby("group")["split"].nunique() == 1).all())


def test_a_pattern_keeps_an_undivided_folder_s_groups_whole(tmp_path: Path) -> None:
    root = patients(tmp_path / "d", ["cat", "dog"])
    manifest = scan(root, group=PATTERN)
    assert whole(manifest)
    assert set(manifest.items["group"]) == {f"p{patient:02d}" for patient in range(12)}
    assert set(manifest.items["split"]) == {"train", "select", "test"}
    note = f"the pattern {PATTERN} makes 12 groups, each in one split (the largest, 'p00', has 4 images)"
    assert note in manifest.notes
    assert scan(root).items["group"].eq("").all()


def test_the_parts_of_several_parentheses_are_one_name(tmp_path: Path) -> None:
    manifest = scan(patients(tmp_path / "d", ["cat", "dog"]), group="([a-z]+)/(p[0-9]+)_")
    assert whole(manifest)
    assert manifest.items["group"].nunique() == 24
    assert "cat/p00" in set(manifest.items["group"])


def test_a_column_beside_class_folders_or_with_the_labels(tmp_path: Path) -> None:
    folders, flat = patients(tmp_path / "folders", ["cat", "dog"]), tmp_path / "flat"
    rows = [("file", "patient")]
    rows += [(str(path.relative_to(folders)), path.name[:3]) for path in sorted(folders.rglob("*.png"))]
    write_table(folders, "about.csv", rows)
    manifest = scan(folders, group="patient")
    assert whole(manifest)
    assert account_of(manifest).left_out == {}, "the table is used, and no file that is no image"
    assert manifest.items["group"].nunique() == 12
    assert set(scan(folders, group="patient", labels="folders").items["group"]) == set(manifest.items["group"])
    for patient in range(12):
        for number in range(4):
            put(flat, f"images/{patient:02d}{number}.png")
    labelled = [(f"{n // 4:02d}{n % 4}.png", ("cat", "dog")[n % 2], f"patient {n // 4}") for n in range(48)]
    write_table(flat, "labels.csv", [("file", "label", "who"), *labelled])
    manifest = scan(flat, group="who")
    assert whole(manifest)
    assert manifest.classes == ["cat", "dog"]


def test_a_key_of_the_files_beside_the_images(tmp_path: Path) -> None:
    for number in range(24):
        put(tmp_path / "d", f"{number:03d}.png")
        facts = {"label": number % 2, "video": f"v{number // 3}"}
        put(tmp_path / "d", f"{number:03d}.json", json.dumps(facts).encode())
    manifest = scan(tmp_path / "d", group="video")
    assert whole(manifest)
    assert manifest.items["group"].nunique() == 8


def test_a_group_of_an_earlier_split_is_left_out_of_the_later_ones(tmp_path: Path) -> None:
    root = tmp_path / "d"
    for label in ("cat", "dog"):
        for name in ("p1_0", "p1_1", "p2_0"):
            put(root, f"train/{label}/{label}{name}.png")
        for name in ("p2_1", "p3_0", "p3_1", "p4_0"):
            put(root, f"val/{label}/{label}{name}.png")
        for name in ("p1_2", "p3_2", "p5_0"):
            put(root, f"test/{label}/{label}{name}.png")
    manifest = scan(root, group="([a-z]+p[0-9]+)_")
    assert whole(manifest)
    assert manifest.sizes() == {"train": 6, "select": 6, "test": 2}
    reasons = dict(zip(manifest.left_out["path"], manifest.left_out["reason"], strict=True))
    assert reasons["val/cat/catp2_1.png"] == "group in two splits: catp2 is in train too"
    assert reasons["test/cat/catp3_2.png"] == "group in two splits: catp3 is in val too"
    alarm = (
        "6 evaluation images belong to a group of an earlier split and are left out, such as test/cat/catp1_2.png "
        "(catp1 is in train too)."
    )
    assert alarm in account_of(manifest).alarms


def test_where_all_that_judges_belongs_to_train_it_is_drawn_from_train_by_group(tmp_path: Path) -> None:
    root = tmp_path / "d"
    for split, numbers in (("train", range(3)), ("val", range(3, 5))):
        for patient in range(12):
            for number in numbers:
                put(root, f"{split}/{('cat', 'dog')[patient % 2]}/p{patient:02d}_{number}.png")
    manifest = scan(root, group=PATTERN)
    assert whole(manifest)
    assert min(manifest.sizes().values()) > 0
    assert any(alarm.startswith("Every validation and test image is left out, so 15%") for alarm in manifest.alarms)


def test_images_without_a_group_are_told(tmp_path: Path) -> None:
    root = patients(tmp_path / "d", ["cat", "dog"])
    put(root, "cat/stranger.png")
    alarm = next(alarm for alarm in scan(root, group=PATTERN).alarms if "belong" in alarm)
    assert alarm.startswith(f"1 image belongs to no group by the pattern {PATTERN}, such as cat/stranger.png")
    own = scan(root, group="([^/]+)$")
    assert any("gives each image a group of its own" in alarm for alarm in own.alarms)


@pytest.mark.parametrize(
    ("group", "problem"),
    [
        ("patiemt", "did you mean patient"),
        ("p[0-9]+_", "no pattern with parentheses"),
        ("(p[0-9", "no regular expression"),
        ("(nothing)", "gives no image a group"),
        ("^(.)", "puts all 48 images in one group"),
        ("twice", "is in two groups of twice, 'a' and 'b'"),
    ],
)
def test_a_group_that_cannot_be_is_one_line(tmp_path: Path, group: str, problem: str) -> None:
    root = patients(tmp_path / "d", ["xcat", "xdog"])
    rows = [(path.name, path.name[:3], "a") for path in sorted(root.rglob("*.png"))]
    write_table(root, "about.csv", [("file", "patient", "twice"), *rows, (rows[0][0], rows[0][1], "b")])
    with pytest.raises(UserError, match=r"data\.group: ") as caught:
        scan(root, group=group, labels="folders")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rendered_images_have_nothing_to_group() -> None:
    with pytest.raises(UserError, match=r"data: group: known-effects is rendered"):
        open_source("known-effects", options=ReadingOptions(group="(.)"))


def frame(rows: Sequence[tuple[str, str, int]]) -> pd.DataFrame:
    """Label, group ("" for none) and number of the set of near copies (0 for none) of each image."""
    shas = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(len(rows))]
    first: Mapping[int, str] = {near: sha for (_, _, near), sha in zip(reversed(rows), reversed(shas), strict=True)}
    return pd.DataFrame(
        {
            "label": [label for label, _, _ in rows],
            "group": [group for _, group, _ in rows],
            "near_copies": [first[near] if near else "" for _, _, near in rows],
            "sha256": shas,
        },
        dtype=object,
    )


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["", *"pqrstuvwxyz"]), st.integers(0, 4)), max_size=40
)


@pytest.mark.parametrize("rule", [halve, divide])
@settings(max_examples=40, deadline=None)
@given(rows=ROWS)
def test_neither_groups_nor_near_copies_are_ever_divided(rule: object, rows: list[tuple[str, str, int]]) -> None:
    items = frame(rows)
    items["split"] = rule(items)  # type: ignore[operator]
    for column in ("group", "near_copies"):
        named = items[items[column] != ""]
        assert (named.groupby(column)["split"].nunique() <= 1).all()


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, splits=st.lists(st.sampled_from(["train", "val", "test"]), min_size=40, max_size=40))
def test_no_manifest_has_a_group_in_two_splits(rows: list[tuple[str, str, int]], splits: list[str]) -> None:
    images = [
        ScannedImage(f"{number}.png", splits[number], row.label, row.sha256, 1, "", row.near_copies, row.group)
        for number, row in enumerate(frame(rows).itertuples())
    ]
    for divided in (images, [image._replace(split="") for image in images]):
        try:
            manifest = assemble("x", divided, [], "x")
        except UserError as error:
            assert "\n" not in str(error)
            continue
        named = manifest.items[manifest.items["group"] != ""]
        assert (named.groupby("group")["split"].nunique() <= 1).all()
        assert set(manifest.items["label"]) == set(manifest.items.loc[manifest.items["split"] == "train", "label"])


def test_each_class_has_a_group_in_each_split_where_groups_hold_one_class() -> None:
    items = frame([(label, f"{label}{group}", 0) for label in "abcdefgh" for group in range(3) for _ in range(9)])
    counts = items.assign(split=divide(items)).groupby("label")["split"].nunique()
    assert (counts == 3).all()
