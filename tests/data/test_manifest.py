"""Manifests, splits and subsets: by content, disjoint, nested, and nothing that reads a file of theirs can crash."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sota_bench.data.assembly import assemble
from sota_bench.data.manifest import COLUMNS, Manifest
from sota_bench.data.split import shared_contents
from sota_bench.data.subset import choose, class_split
from sota_bench.errors import UserError

HEADER = 'sota-bench manifest 3 {"name": "n", "junk": 0, "notes": [], "alarms": []}\n'


def sha(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def found(split, label, numbers, prefix=""):
    return [(f"{prefix}{split}/{label}/{n}.jpg", split, label, sha(n), 10 + n) for n in numbers]


def example(train=20, val=11, classes=("a", "b", "c", "d", "e")):
    rows = []
    for k, label in enumerate(classes):
        rows += found("train", label, range(1000 * k, 1000 * k + train))
        rows += found("val", label, range(1000 * k + 500, 1000 * k + 500 + val))
    return rows


def test_validation_is_halved_by_class_and_content():
    manifest = assemble("x", example(), [], "x")
    sizes = manifest.sizes()
    assert sizes["train"] == 100
    assert sizes["select"] + sizes["test"] == 55
    counts = manifest.items.groupby(["label", "split"]).size()
    assert all(counts[label, half] >= 1 for label in "abcde" for half in ("select", "test"))
    assert shared_contents(manifest.items) == []
    renamed = [(f"other/{path}.png", *rest) for path, *rest in reversed(example())]
    again = assemble("y", renamed, [("junk", "why")], "y")
    assert again.digest == manifest.digest
    by_content = dict(zip(manifest.items["sha256"], manifest.items["split"], strict=True))
    assert by_content == dict(zip(again.items["sha256"], again.items["split"], strict=True))


def test_added_images_move_no_image_between_the_halves():
    before = assemble("x", example(), [], "x").items.set_index("sha256")["split"]
    more = example() + found("val", "a", range(900, 950))
    after = assemble("x", more, [], "x").items.set_index("sha256")["split"]
    assert (after[before.index] == before).all()


def test_own_select_and_test_splits_are_kept():
    rows = example() + found("test", "a", range(700, 707))
    manifest = assemble("x", rows, [], "x")
    assert manifest.sizes() == {"train": 100, "select": 55, "test": 7}


def test_a_data_set_without_splits_is_divided():
    rows = [(f"{label}/{n}.jpg", "", label, sha(f"{label}{n}"), 1) for label in "ab" for n in range(200)]
    rows += [("single/1.jpg", "", "single", sha("one"), 1)]
    manifest = assemble("x", rows, [], "x")
    sizes = manifest.sizes()
    assert sum(sizes.values()) == 401
    assert 240 < sizes["train"] < 320
    assert min(sizes["select"], sizes["test"]) > 30
    assert manifest.items.set_index("label").loc["single", "split"] == "train"


def test_copies_across_splits_are_left_out_of_the_evaluation_by_name():
    rows = example()
    rows += [("val/a/copy.jpg", "val", "a", sha(0), 10), ("val/b/copy.jpg", "val", "b", sha(500), 10)]
    rows += [("train/a/twice.jpg", "train", "a", sha(1), 10)]
    manifest = assemble("x", rows, [], "x")
    assert manifest.left_out.values.tolist() == [
        ["val/a/copy.jpg", "a copy: the same content as train/a/0.jpg", "val", "a"],
        ["val/b/copy.jpg", "two labels: the same content as val/a/500.jpg (a)", "val", "b"],
    ]
    assert manifest.sizes()["train"] == 101


def test_training_contents_with_two_labels_are_left_out_altogether():
    manifest = assemble("x", [*example(), ("train/b/0.jpg", "train", "b", sha(0), 10)], [], "x")
    assert sorted(manifest.left_out["path"]) == ["train/a/0.jpg", "train/b/0.jpg"]
    assert sha(0) not in set(manifest.items["sha256"])


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "no usable image"),
        (found("train", "a", range(3)), "only one class"),
        (found("val", "a", range(3)) + found("val", "b", range(3, 6)), "no usable training images"),
        ([*found("train", "a", range(3)), ("x/1.jpg", "", "x", sha(99), 1)], "some are not"),
    ],
)
def test_unusable_data_is_one_line(rows, problem):
    with pytest.raises(UserError, match=problem) as caught:
        assemble("x", rows, [("junk", "why")], "the/place")
    assert str(caught.value).startswith("the/place")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a\vb\u2028c\x85d", "a\rb", "a\nb,c", "d  e", "{}", '"'])
def test_what_is_said_about_the_data_survives_its_file(tmp_path, text):
    before = assemble(text, example(), [], "x", junk=3, notes=[text, "b"], alarms=[text])
    before.save(tmp_path / "manifest.csv")
    after = Manifest.load(tmp_path / "manifest.csv")
    assert (after.name, after.junk, after.notes, after.alarms) == (text, 3, (text, "b"), (text,))


def test_a_manifest_that_cannot_be_written_leaves_no_part(tmp_path):
    (tmp_path / "manifest.csv").mkdir()
    with pytest.raises(OSError):
        assemble("d", example(), [], "x").save(tmp_path / "manifest.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]


def test_manifests_survive_their_file(tmp_path):
    rows = example(classes=("NA", 'né, "q"', "猫", "#5", "nan"))
    manifest = assemble(
        "my data", rows, [('a,b"c.jpg', "why, oh why"), ("x\ny.jpg", "line"), ("x\r.jpg", "b\r\n")], "x"
    )
    manifest.save(tmp_path / "deep" / "manifest.csv")
    again = Manifest.load(tmp_path / "deep" / "manifest.csv")
    assert again.name == "my data"
    assert again.digest == manifest.digest
    assert again.items.values.tolist() == manifest.items.values.tolist()
    assert again.left_out.values.tolist() == manifest.left_out.values.tolist()
    assert list(tmp_path.glob("**/*.part")) == []


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        (",train,", ",trian,", "split"),
        (sha(3), sha(3)[:-1], "sha256"),
        (sha(3), sha(3).upper(), "sha256"),
        (",13,", ",-13,", "bytes"),
        (",13,", ",1e3,", "bytes"),
        (sha(3), sha(503), "split"),
        ("train/a/3.jpg", "train/a/4.jpg", "path"),
        ("path,split", "path,spilt", ""),
        (",13,,", ",13,4:2,", "scale"),
        ('"junk": 0', '"junk": []', ""),
        ("manifest 3", "manifest 2", ""),
    ],
)
def test_a_changed_manifest_is_refused(tmp_path, old, new, key):
    file = tmp_path / "m.csv"
    assemble("x", example(), [], "x").save(file)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        Manifest.load(file)
    assert caught.value.key == key


def test_missing_and_binary_manifests_are_one_line(tmp_path):
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00\x80")
    for name in ("none", "b", "."):
        with pytest.raises(UserError, match="cannot be read"):
            Manifest.load(tmp_path / name)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=200), st.text(alphabet=",\"\n'ab1train0 \r", max_size=200)), st.booleans())
def test_any_text_is_a_manifest_or_a_user_error(text, headed):
    head = HEADER + ",".join([*COLUMNS, "left_out"]) + "\n" if headed else ""
    try:
        manifest = Manifest.parse(head + text, "fuzz")
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert set(manifest.items["split"]) <= {"train", "select", "test"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_valid_manifest_with_any_change_is_a_manifest_or_a_user_error(data):
    text = HEADER + ",".join([*COLUMNS, "left_out"]) + "\n"
    text += f"a,train,x,{sha(1)},5,,,\nb,train,y,{sha(2)},5,0.0:9.0,g,\nc,,,,0,,,broken\n"
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 9))
    changed = text[:start] + data.draw(st.text(max_size=5)) + text[start + length :]
    try:
        Manifest.parse(changed, "fuzz")
    except UserError as error:
        assert "\n" not in str(error)


@pytest.fixture(scope="module")
def manifest():
    return assemble("x", example(train=23, val=10), [], "x")


def contents(subset, split):
    return set(subset.contents(split))


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.01, 1), st.floats(0.01, 1), st.integers(2, 5), st.integers(2, 5), st.integers(1, 60), st.integers(1, 60)
)
def test_smaller_subsets_are_inside_larger_ones(manifest, f1, f2, c1, c2, e1, e2):
    small = choose(manifest, fraction=min(f1, f2), classes=min(c1, c2), eval_images=min(e1, e2))
    large = choose(manifest, fraction=max(f1, f2), classes=max(c1, c2))
    for split in ("train", "select", "test"):
        assert contents(small, split) <= contents(large, split)
    same = choose(manifest, fraction=min(f1, f2), classes=max(c1, c2), eval_images=max(e1, e2))
    assert contents(
        choose(manifest, fraction=min(f1, f2), classes=max(c1, c2), eval_images=min(e1, e2)), "test"
    ) <= contents(same, "test")


@pytest.mark.parametrize(("fraction", "each"), [(1.0, 23), (0.5, 12), (0.1, 3), (0.001, 1), (2 / 23, 2)])
def test_subsets_are_stratified(manifest, fraction, each):
    subset = choose(manifest, fraction=fraction, eval_images=5)
    assert Counter(subset.targets("train").tolist()) == dict.fromkeys(range(5), each)
    assert Counter(subset.targets("select").tolist()) == dict.fromkeys(range(5), 1)
    assert subset.sizes() == {"train": 5 * each, "select": 5, "test": 5}


@settings(max_examples=30, deadline=None)
@given(added=st.integers(0, 12), fraction=st.floats(0.05, 1), each=st.integers(1, 30))
def test_added_images_move_as_many_of_their_class_at_most(manifest, added, fraction, each):
    rows = example(train=23, val=10) + found("train", "a", range(2300, 2300 + added))
    larger = assemble("x", rows, [], "x")
    old, new = (choose(m, fraction=fraction, per_class=each, eval_images=5 * each) for m in (manifest, larger))
    dropped = contents(old, "train") - contents(new, "train")
    labels = manifest.items.set_index("sha256")["label"]
    assert len(dropped) <= added
    assert {labels[content] for content in dropped} <= {"a"}
    for split in ("select", "test"):
        assert contents(old, split) == contents(new, split)


def test_targets_follow_the_subsets_classes(manifest):
    subset = choose(manifest, classes=["d", "b"], per_class=2)
    labels = manifest.items["label"].to_numpy()[subset.rows["train"]]
    assert subset.classes == ["b", "d"]
    assert [subset.classes[target] for target in subset.targets("train")] == labels.tolist()
    assert len(labels) == 4


def test_curated_lists_limit_training_alone(manifest):
    keep = {sha(0), sha(1), sha(2001)}
    subset = choose(manifest, keep=keep)
    assert contents(subset, "train") == keep
    assert subset.sizes()["select"] == choose(manifest).sizes()["select"]


def test_digests_follow_the_choice(manifest):
    digests = [
        choose(manifest).digest, choose(manifest, fraction=0.5).digest, choose(manifest, classes=4).digest,
        choose(manifest, eval_images=5).digest,
    ]  # fmt: skip
    assert len(set(digests)) == 4
    assert choose(manifest, fraction=0.5).split_digest("test") == choose(manifest).split_digest("test")


@pytest.mark.parametrize(
    "bad",
    [{"fraction": 0.0}, {"fraction": 1.1}, {"fraction": float("nan")}, {"classes": 1}, {"classes": 6}, {"per_class": 0},
     {"eval_images": 0}, {"classes": ["a", "zz"]}, {"classes": ["a", "a"]}, {"keep": []}],
)  # fmt: skip
def test_bad_choices_are_one_line(manifest, bad):
    with pytest.raises(UserError):
        choose(manifest, **bad)


def test_an_unknown_class_names_the_nearest():
    rows = example(classes=("chain saw", "church", "golf ball"))
    with pytest.raises(UserError, match="did you mean golf ball"):
        choose(assemble("x", rows, [], "x"), classes=["golfball", "church"])


def test_class_split_divides_in_order(manifest):
    assert class_split(manifest, 2) == [["a", "b", "c"], ["d", "e"]]
    with pytest.raises(UserError):
        class_split(manifest, 3)


def test_rows_point_into_the_manifest(manifest):
    subset = choose(manifest, fraction=0.3)
    for split, rows in subset.rows.items():
        assert np.all(np.diff(rows) > 0)
        assert set(manifest.items["split"].to_numpy()[rows]) == {split}
