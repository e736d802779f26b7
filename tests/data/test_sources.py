"""Sources: layouts, bad files by name, archives read in place or unpacked safely, and nothing that points outside."""

import gzip
import io
import itertools
import os
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sota_bench.data import scan, tarindex
from sota_bench.data.decode import BadImage
from sota_bench.data.files import FolderSource, TarSource
from sota_bench.data.find import open_source
from sota_bench.data.layout import read_folders
from sota_bench.data.options import ReadingOptions
from sota_bench.data.specs import source_from_spec
from sota_bench.data.unpack import unpack
from sota_bench.errors import UserError
from sota_bench.plan.manifest_queries import _is_large


def photo(seed, side=12, kind="PNG"):
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def files(train=4, val=4, classes=("a", "b")):
    found, seed = {}, 0
    for label in classes:
        for split, count in (("train", train), ("val", val)):
            for n in range(count):
                found[f"{split}/{label}/{n}.png"] = photo(seed := seed + 1)
    return found


def fill(folder, contents):
    for path, data in contents.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def tar(path, contents, mode="w", prefix=""):
    with tarfile.open(path, mode) as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("sota_bench.data.find.user_cache", lambda: tmp_path / "user-cache")


def test_folder_tar_tgz_and_zip_are_the_same_data(tmp_path):
    contents = files()
    folder = fill(tmp_path / "folder", contents)
    plain = tar(tmp_path / "d.tar", contents, prefix="./data-160/")
    packed = tar(tmp_path / "d.tgz", contents, "w:gz", prefix="data-160/")
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    sources = [
        open_source(f"folder:{folder}"),
        *(open_source(f"archive:{p}") for p in (plain, packed, tmp_path / "d.zip")),
    ]
    manifests = [source.scan() for source in sources]
    assert len({manifest.digest for manifest in manifests}) == 1
    assert manifests[0].sizes()["train"] == 8
    first = manifests[0].items["sha256"][0]
    pixels = []
    for source, manifest in zip(sources, manifests, strict=True):
        path = manifest.items.set_index("sha256")["path"][first]
        clone = source_from_spec(pickle.loads(pickle.dumps(source)).spec)
        pixels.append(clone.decode(path, 8))
    assert all(np.array_equal(pixels[0], other) for other in pixels)


def test_every_file_that_cannot_be_used_is_named(tmp_path):
    jpeg = photo(900, 40, "JPEG")
    bad = {
        "train/a/empty.jpg": b"",
        "train/a/cut.jpg": jpeg[: len(jpeg) // 2],
        "train/b/text.png": b"hello",
        "train/b/notes.txt": b"notes",
        "train/loose.png": photo(901),
        "val/only-here/1.png": photo(902),
        "val/a/copy.png": files()["train/a/0.png"],
        "extra/a/1.png": photo(903),
    }
    folder = fill(tmp_path / "d", {**files(), **bad})
    (folder / "train" / "a" / "loop").symlink_to(folder / "train")
    (folder / "train" / "a" / "broken.png").symlink_to(folder / "nowhere")
    (folder / "train" / "empty-class").mkdir()
    manifest = FolderSource("d", folder).scan()
    reasons = dict(manifest.left_out[["path", "reason"]].values.tolist())
    assert set(reasons) == {*bad, "train/a/loop", "train/a/broken.png"}
    assert "empty" in reasons["train/a/empty.jpg"]
    assert "damaged" in reasons["train/a/cut.jpg"]
    assert "link" in reasons["train/a/loop"]
    assert "same content" in reasons["val/a/copy.png"]
    assert manifest.classes == ["a", "b"]
    assert manifest.items["path"].str.startswith("val/").sum() == 8
    assert manifest.sizes()["train"] == 8


def test_links_to_classes_elsewhere_are_followed(tmp_path):
    elsewhere = fill(tmp_path / "elsewhere", {f"{n}.png": photo(n + 50) for n in range(3)})
    folder = fill(tmp_path / "d", files())
    (folder / "train" / "c").symlink_to(elsewhere, target_is_directory=True)
    assert FolderSource("d", folder).scan().sizes()["train"] == 11


def test_folders_that_link_to_each_other_are_listed_once(tmp_path):
    """Twelve folders that each link to all others have more paths than can be walked."""
    folder = fill(tmp_path / "d", {f"train/{n:02}/{n}.png": photo(n) for n in range(12)})
    for place, target in itertools.permutations(sorted((folder / "train").iterdir()), 2):
        (place / f"to-{target.name}").symlink_to(target)
    source = FolderSource("d", folder)
    listing = source.listing()
    assert {path.rpartition("/")[2] for path, _, _ in listing.files} == {f"{n}.png" for n in range(12)}
    assert any(reason == "a link to a folder that is listed already" for _, reason in listing.left_out)
    assert not _is_large(source)


@pytest.mark.parametrize("name", ["猫 🐈", "é\u0301t\u00e9", "عربي", "a'b\"c,d", "x" * 200, "#1 & <b>"])
def test_names_in_any_script_work(tmp_path, name):
    contents = {
        **files(),
        f"train/{name}/{name[:60]}.png": photo(1),
        f"val/{name}/1.png": photo(2),
        f"val/{name}/2.png": photo(3),
    }
    contents.pop("train/a/0.png")
    for source in (
        FolderSource("d", fill(tmp_path / "d", contents)),
        TarSource("d", tar(tmp_path / "d.tar", contents)),
    ):
        manifest = source.scan()
        assert name in manifest.classes
        path = f"train/{name}/{name[:60]}.png"
        assert source.decode(path, 8).shape == (8, 8, 3)


def test_names_that_are_not_text_are_left_out(tmp_path):
    folder = fill(tmp_path / "d", files())
    try:
        (folder / "train" / "a" / os.fsdecode(b"\xff\xfe.png")).write_bytes(photo(1))
    except OSError:
        pytest.skip("this file system takes only text as names")
    assert "not valid UTF-8" in FolderSource("d", folder).scan().left_out["reason"].iloc[0]


def layout_of(paths, **options):
    return read_folders(paths, ReadingOptions(**options), "x")


def test_layouts():
    divided = layout_of(["x/train/b/1.JPEG", "x/val/b/2.JPEG", "x/train/a/3.jpg"])
    assert divided.members["x/train/b/1.JPEG"] == ("train", "b")
    assert divided.members["x/train/a/3.jpg"] == ("train", "a")
    flat = layout_of(["top/cat/1.png", "top/cat/sub/2.png", "top/dog/1.png"])
    assert flat.members == {
        "top/cat/1.png": ("", "cat"),
        "top/cat/sub/2.png": ("", "cat"),
        "top/dog/1.png": ("", "dog"),
    }
    unlabelled = layout_of(["train/a/1.jpg", "train/b/1.jpg", "test/1.jpg"])
    assert unlabelled.left_out == [("test/1.jpg", "no label: in no class folder")]
    with pytest.raises(UserError, match="one folder"):
        layout_of(["1.jpg", "2.jpg"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(
            st.sampled_from(["train", "val", "test", "seg_train", "fold0", "fold1", "masks", "images", "docs", "a"]),
            max_size=4,
        )
    )
)
def test_any_set_of_paths_has_a_layout_or_a_user_error(steps):
    paths = list(dict.fromkeys("/".join([*parts, "x.png"]) for parts in steps))
    try:
        layout = layout_of(paths)
    except UserError as error:
        assert "\n" not in str(error)
        return
    named = [path for path, _ in layout.left_out]
    assert sorted([*layout.members, *named]) == sorted(paths), "each path is a member or left out, once"


def test_a_second_scan_reads_no_file_that_is_unchanged(tmp_path, monkeypatch):
    folder = fill(tmp_path / "d", files())
    source = FolderSource("d", folder, tmp_path / "scans")
    first, seen = source.scan(), []
    real = scan._look
    monkeypatch.setattr(scan, "_look", lambda reader, path: seen.append(path) or real(reader, path))
    assert source.scan().digest == first.digest
    assert seen == []
    (folder / "train/a/0.png").write_bytes(photo(77))
    os.utime(folder / "train/a/1.png", ns=(1, 1))
    assert source.scan().digest != first.digest
    assert sorted(seen) == ["train/a/0.png", "train/a/1.png"]


def test_an_interrupted_scan_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("sota_bench.data.scan.usable_cores", lambda: 1)
    content, read = io.BytesIO(), []
    Image.new("RGB", (8, 8)).save(content, "PNG")
    files = [(f"{number}.png", 1, 1) for number in range(600)]

    def reader(path):
        if len(read) == 520:
            raise KeyboardInterrupt
        read.append(path)
        return content.getvalue()

    with pytest.raises(KeyboardInterrupt):
        scan.scan_files(reader, files, tmp_path / "scan.npz")
    done = 2 * 256  # whole chunks
    first, read[:] = read[:done], []
    results = scan.scan_files(reader, files, tmp_path / "scan.npz")
    assert read == [path for path, _, _ in files[done:]]
    assert [path for path, _, _ in files[:done]] == first
    assert len(results) == len(files) and not any(scanned.problem for scanned in results.values())


def test_a_damaged_scan_memory_costs_only_time(tmp_path):
    source = FolderSource("d", fill(tmp_path / "d", files()), tmp_path / "scans")
    first = source.scan()
    [kept] = (tmp_path / "scans").iterdir()
    whole = kept.read_bytes()
    for damage in (b"", b"junk", whole[: len(whole) // 2], whole[:200] + b"\xff" * 50 + whole[250:]):
        kept.write_bytes(damage)
        assert source.scan().digest == first.digest


def test_many_files_are_scanned_by_processes(tmp_path):
    contents = {f"train/{c}/{n}.png": photo(1000 * ord(c) + n, 2) for c in "ab" for n in range(scan._FEW // 2 + 20)}
    contents["train/a/bad.png"] = b"x"
    calls = []
    manifest = FolderSource("d", fill(tmp_path / "d", contents)).scan(lambda done, total: calls.append((done, total)))
    assert len(manifest.items) == len(contents) - 1
    assert manifest.left_out["path"].tolist() == ["train/a/bad.png"]
    assert calls[-1] == (len(contents), len(contents))
    assert calls == sorted(calls)


def test_scanning_uses_the_processors_that_are_allowed(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 3, 5}, raising=False)
    assert scan.usable_cores() == 3


def test_tar_members_that_point_outside_are_left_out_by_name(tmp_path):
    path = tar(
        tmp_path / "d.tar",
        {**files(), "../evil.png": photo(1), "/abs/evil.png": photo(2), "train/../../e.png": photo(3)},
    )
    with tarfile.open(path, "a") as archive:
        for kind, name in (
            (tarfile.SYMTYPE, "train/a/link.png"),
            (tarfile.LNKTYPE, "train/a/hard.png"),
            (tarfile.CHRTYPE, "dev"),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    source = TarSource("d", path, tmp_path / "scans")
    for _ in range(2):  # as read, and as remembered
        manifest = source.scan()
        reasons = dict(manifest.left_out[["path", "reason"]].values.tolist())
        assert {
            "../evil.png",
            "/abs/evil.png",
            "train/../../e.png",
            "train/a/link.png",
            "train/a/hard.png",
            "dev",
        } == set(reasons)
        assert len(manifest.items) == 16
        source = TarSource("d", path, tmp_path / "scans")


def test_folder_readers_do_not_leave_their_folder(tmp_path):
    source = FolderSource("d", fill(tmp_path / "d", files()))
    (tmp_path / "secret.png").write_bytes(photo(5))
    for path in ("../secret.png", str(tmp_path / "secret.png"), "train/../../secret.png", "train/a/none.png"):
        with pytest.raises(BadImage, match="cannot be read"):
            source.decode(path, 8)


def test_a_tar_that_shrinks_after_its_scan_is_found(tmp_path):
    path = tar(tmp_path / "d.tar", files())
    source = TarSource("d", path)
    last = source.scan().items["path"].iloc[-1]
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BadImage):
        source.decode(last, 8)


@pytest.mark.parametrize("data", [b"", b"junk" * 400, b"\x1f\x8b" + bytes(50)])
def test_no_archives_are_one_line(tmp_path, data):
    for name in ("d.tar", "d.tgz", "d.zip"):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(UserError) as caught:
            open_source(f"archive:{path}").scan()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/../../evil.png", "C:/evil.png", "a\\..\\..\\evil.png"])
def test_members_that_point_outside_are_not_unpacked_but_named(tmp_path, name):
    packed = tar(tmp_path / "d.tgz", {**files(), name: photo(1)}, "w:gz")
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for path, data in {**files(), name: photo(1)}.items():
            archive.writestr(path, data)
    for path in (packed, tmp_path / "d.zip"):
        manifest = open_source(f"archive:{path}").scan()
        assert len(manifest.items) == 16
        assert [reason for reason in manifest.left_out["reason"] if "points outside" in reason]
    assert not list(tmp_path.glob("**/evil.png"))


def linked_tar(path, mode):
    """An archive with links of both kinds, to files and folders inside, and to what is outside."""
    links = [
        (tarfile.LNKTYPE, "train/a/hard.png", "train/a/0.png"), (tarfile.SYMTYPE, "train/a/soft.png", "../b/0.png"),
        (tarfile.SYMTYPE, "train/c", "b"), (tarfile.SYMTYPE, "train/a/out.png", "../../../secret.png"),
        (tarfile.SYMTYPE, "train/a/abs.png", "/etc/passwd"), (tarfile.LNKTYPE, "train/a/gone.png", "train/a/none.png"),
        (tarfile.SYMTYPE, "train/a/loop.png", "loop.png"),
    ]  # fmt: skip
    with tarfile.open(path, mode) as archive:
        for name, data in files().items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for kind, name, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return path


@pytest.mark.parametrize(("name", "mode"), [("d.tar", "w"), ("d.tgz", "w:gz"), ("d.tar.xz", "w:xz")])
def test_links_inside_an_archive_are_followed_and_others_named(tmp_path, name, mode):
    source = open_source(f"archive:{linked_tar(tmp_path / name, mode)}")
    listing = source.listing()
    listed = {path for path, _, _ in listing.files}
    assert listed == {*files(), "train/a/hard.png", "train/a/soft.png", *(f"train/c/{n}.png" for n in range(4))}
    read = source.reader()
    assert read("train/a/hard.png") == files()["train/a/0.png"]
    assert read("train/a/soft.png") == read("train/c/0.png") == files()["train/b/0.png"]
    outside = "a link that points outside the archive"
    assert dict(listing.left_out) == {
        "train/a/out.png": outside, "train/a/abs.png": outside, "train/a/gone.png": "a broken link",
        "train/a/loop.png": "a broken link",
    }  # fmt: skip


def test_archives_larger_than_the_disk_are_refused(tmp_path, monkeypatch):
    bomb = tar(tmp_path / "d.tgz", {"train/a/1.png": bytes(3 << 20)}, "w:gz")
    assert bomb.stat().st_size < 10_000
    usage = type("usage", (), {"free": (1 << 28) + (1 << 20)})
    monkeypatch.setattr("sota_bench.data.unpack.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match="does not fit"):
        unpack(bomb, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_unpacking_happens_once(tmp_path):
    path = tar(tmp_path / "d.tgz", files(), "w:gz")
    first = unpack(path, tmp_path / "cache")
    before = (first / "train/a/0.png").stat().st_mtime_ns
    assert unpack(path, tmp_path / "cache") == first
    assert (first / "train/a/0.png").stat().st_mtime_ns == before
    os.utime(path, ns=(1, 1))
    assert unpack(path, tmp_path / "cache") != first


def small_tar():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in (("train/a/1.png", photo(1, 4)), ("train/b/é.png", photo(2, 4))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


SMALL_TAR = small_tar()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL_TAR) - 1), st.binary(min_size=1, max_size=20)), max_size=4),
    st.integers(0, len(SMALL_TAR)),
)
def test_any_change_to_a_tar_is_an_index_or_a_user_error(tmp_path_factory, changes, length):
    data = bytearray(SMALL_TAR)
    for start, patch in changes:
        data[start : start + len(patch)] = patch
    path = tmp_path_factory.getbasetemp() / "fuzz.tar"
    path.write_bytes(bytes(data[: length or None]))
    try:
        index = tarindex.read(path)
    except UserError as error:
        assert "\n" not in str(error)
        return
    whole = path.stat().st_size
    for name, (offset, size) in index.members.items():
        assert 0 <= offset <= offset + size <= whole
        assert not name.startswith("/")
        assert ".." not in name.split("/")


def test_no_cut_and_no_damaged_header_makes_a_tar_shorter(tmp_path):
    path = tmp_path / "d.tar"
    path.write_bytes(SMALL_TAR)
    whole = tarindex.read(path).members
    assert len(whole) == 2
    end = len(SMALL_TAR.rstrip(b"\0"))
    for length in [*range(0, end, 100), *range(0, len(SMALL_TAR), 512)]:
        path.write_bytes(SMALL_TAR[:length])
        try:
            assert tarindex.read(path).members == whole
            assert length > end
        except UserError as error:
            assert "is not a readable .tar" in str(error)
    offset, size = whole["train/a/1.png"]
    second = offset + -(-size // 512) * 512
    for at in range(second, second + 100, 7):
        path.write_bytes(SMALL_TAR[:at] + bytes([SMALL_TAR[at] ^ 1]) + SMALL_TAR[at + 1 :])
        with pytest.raises(UserError, match="cut off or damaged at byte"):
            tarindex.read(path)


def checked_header(header):
    """A member's header with the checksum that belongs to it."""
    return header[:148] + b"%06o\0 " % sum(header[:148] + b" " * 8 + header[156:512]) + header[156:]


@pytest.mark.parametrize("length", [-1024, -512, -(1 << 40)])
def test_members_of_negative_length_are_no_endless_archive(tmp_path, length):
    number = b"\xff" + length.to_bytes(11, "big", signed=True)
    head = SMALL_TAR[:512]
    data = SMALL_TAR[:1024] + checked_header(head[:124] + number + head[136:]) + SMALL_TAR[1024:]
    for path in (tmp_path / "d.tar", tmp_path / "d.tgz"):
        path.write_bytes(data if path.suffix == ".tar" else gzip.compress(data))
        with pytest.raises(UserError, match="negative length"):
            open_source(f"archive:{path}").scan()


def test_damage_behind_the_last_member_of_a_tgz_is_found(tmp_path):
    path = tar(tmp_path / "d.tgz", files(), "w:gz")
    data = path.read_bytes()
    for damaged in (data[:-4], data[:-8] + b"sums" + data[-4:], data[: len(data) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="is not a readable archive"):
            unpack(path, tmp_path / "cache")
    path.write_bytes(gzip.compress(gzip.decompress(data) + bytes(1 << 25)))
    with pytest.raises(UserError, match="goes on after its end mark"):
        unpack(path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_any_damage_to_a_zip_is_found(tmp_path, method):
    """Whatever the compression, and whatever it raises; a damaged disk is another line than a damaged archive."""
    path = tmp_path / "d.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("train/a/1.txt", bytes(range(256)) * 4)
    data = path.read_bytes()
    content = data.index(b"1.txt") + 5
    for at in range(content, content + 200, 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 8]) + data[at + 1 :])
        try:
            folder = unpack(path, tmp_path / "cache")
        except UserError as error:
            assert "is not a readable archive" in str(error)
        else:  # a bit that means nothing
            assert [file.read_bytes() for file in folder.rglob("*.txt")] == [bytes(range(256)) * 4]
            shutil.rmtree(folder)
    assert list((tmp_path / "cache").iterdir()) == []
    path.write_bytes(data.replace(b"train/a/1.txt", b"\0" + b"rain/a/1.txt"))  # a name of no characters
    assert list(unpack(path, tmp_path / "cache").rglob("*.txt")) == []


@pytest.mark.real_data
def test_real_imagenette():
    if "SOTA_BENCH_DATA" not in os.environ:
        pytest.skip("SOTA_BENCH_DATA is not set")
    source = open_source("imagenette")
    manifest = source.scan()
    assert len(manifest.classes) == 10
    assert "golf ball" in manifest.classes
    sizes = manifest.sizes()
    assert sizes["train"] > 9_000
    judging = sizes["select"] + sizes["test"]
    assert abs(sizes["select"] - sizes["test"]) < 4 * judging**0.5  # four standard deviations of their difference
    assert sizes["train"] + sizes["select"] + sizes["test"] + len(manifest.left_out) >= 13_394
    assert source.decode(manifest.items["path"][0], 96).shape[2] == 3
