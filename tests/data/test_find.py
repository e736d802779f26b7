"""Finding a data set: the promised order, one line when it is nowhere, and downloads that are checked."""

import hashlib
import io
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from sota_bench.data import find
from sota_bench.data.download import Archive, download_archive
from sota_bench.data.find import open_source
from sota_bench.data.names import IMAGENETTE, IMAGEWOOF
from sota_bench.errors import UserError


def photo(seed):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def contents(classes=IMAGENETTE, start=0):
    paths = [f"{split}/{name}/{n}.png" for name in classes for split in ("train", "val") for n in range(2)]
    return {path: photo(start + k) for k, path in enumerate(paths)}


def fill(folder, classes=IMAGENETTE, start=0):
    for path, data in contents(classes, start).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def packed(mode, classes=IMAGENETTE, start=0):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for path, data in contents(classes, start).items():
            member = tarfile.TarInfo(f"imagenette2-320/{path}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "user-cache"
    monkeypatch.setattr(find, "user_cache", lambda: folder)
    return folder


def test_the_order_is_path_then_variable_then_cache(tmp_path, cache):
    given_path, variable = fill(tmp_path / "given"), fill(tmp_path / "variable")
    kept = fill(cache / "imagenette2-320")
    environ = {find.VARIABLE: str(variable)}
    assert open_source("imagenette", given_path, environ, download=False).root == given_path
    assert open_source("imagenette", None, environ, download=False).root == variable
    assert open_source("imagenette", None, {}, download=False).root == kept


@pytest.mark.parametrize("name", ["imagenette2", "imagenette2-160", "imagenette2-224.tar", "imagenette2-320.tgz"])
def test_the_variable_may_be_the_data_or_hold_it(tmp_path, name):
    place = tmp_path / "shelf"
    place.mkdir()
    fill(place / "imagewoof2", IMAGEWOOF, 500)
    (place / "README.md").write_text("about")
    target = place / name
    if name.endswith(".tar"):
        target.write_bytes(packed("w"))
    elif name.endswith(".tgz"):
        target.write_bytes(packed("w:gz"))
    else:
        fill(target)
    found = [
        open_source("imagenette", None, {find.VARIABLE: str(where)}, download=False).scan() for where in (place, target)
    ]
    assert found[0].digest == found[1].digest
    assert found[0].classes == sorted(IMAGENETTE.values())
    woof = open_source("imagewoof", None, {find.VARIABLE: str(place)}, download=False).scan()
    assert woof.classes == sorted(IMAGEWOOF.values())


def test_another_data_set_is_not_taken_for_it(tmp_path):
    place = fill(tmp_path / "woof", IMAGEWOOF)
    with pytest.raises(UserError, match="does not hold it"):
        open_source("imagenette", None, {find.VARIABLE: str(place)}, download=False)
    with pytest.raises(UserError, match="does not hold imagenette"):
        open_source("imagenette", place, {}, download=False)


def test_nowhere_to_be_found_is_one_line_with_all_four_places(cache, monkeypatch):
    archive = Archive("http://127.0.0.1:9/imagenette2-320.tgz", 1, sha256="0")
    closed = replace(find.NAMED_DATASETS["imagenette"], archive=archive)
    monkeypatch.setattr(find, "NAMED_DATASETS", {**find.NAMED_DATASETS, "imagenette": closed})
    with pytest.raises(UserError) as caught:
        open_source("imagenette", None, {})
    line = str(caught.value)
    assert "\n" not in line
    for part in (
        "data.path",
        "SOTA_BENCH_DATA",
        str(cache),
        "http://127.0.0.1:9/",
        "cannot be downloaded",
        "known-effects",
    ):
        assert part in line


def test_imagenet_is_never_downloaded():
    with pytest.raises(UserError, match="cannot be downloaded without an account"):
        open_source("imagenet", None, {})


@pytest.mark.parametrize(
    ("source", "problem"),
    [("imagenete", "did you mean imagenette"), ("folder:", "names no path"), ("folder:/no/such", "not a folder"),
     ("archive:/no/such.tar", "not a file"), ("", "unknown source"), ("ftp:x", "unknown source")],
)  # fmt: skip
def test_bad_sources_are_one_line(source, problem):
    with pytest.raises(UserError, match=problem):
        open_source(source, None, {}, download=False)


def test_a_folder_and_an_archive_name_each_other(tmp_path):
    archive = tmp_path / "x.zip"
    archive.write_bytes(b"PK")
    for source, advice in ((f"folder:{archive}", f"archive:{archive}"), (f"archive:{tmp_path}", f"folder:{tmp_path}")):
        with pytest.raises(UserError) as caught:
            open_source(source, None, {})
        assert advice in caught.value.remedy


def test_a_misspelt_variable_is_not_passed_over(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        open_source("imagenette", None, {find.VARIABLE: str(tmp_path / "typo")})


@pytest.fixture
def server():
    """A server on loopback that gives out ``server.files``; ``server.cut`` ends each answer early."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            data = self.server.files.get(self.path)
            self.server.asked.append(self.path)
            if data is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if self.server.cut else data)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.files, running.asked, running.cut = {}, [], False
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()


def published(server, data):
    server.files["/imagenette2-320.tgz"] = data
    return Archive(f"{server.url}/imagenette2-320.tgz", len(data), sha256=hashlib.sha256(data).hexdigest())


def test_a_download_is_found_unpacked_and_kept(server, cache, monkeypatch):
    archive = published(server, packed("w:gz"))
    known = replace(find.NAMED_DATASETS["imagenette"], archive=archive)
    monkeypatch.setattr(find, "NAMED_DATASETS", {**find.NAMED_DATASETS, "imagenette": known})
    first = open_source("imagenette", None, {}).scan()
    assert first.sizes()["train"] == 20
    assert len(first.items) == 40
    assert open_source("imagenette", None, {}).scan().digest == first.digest
    assert server.asked == ["/imagenette2-320.tgz"], "the second time it is in the cache"
    assert not list(cache.glob("*.part"))


def test_what_is_not_the_published_file_is_not_kept(server, cache):
    data = bytes(range(256)) * 5000
    archive = published(server, data)
    wrong = [
        (replace(archive, sha256="0" * 64), "SHA-256"),
        (replace(archive, sha256="", md5_of_first_mebibyte="0" * 32), "MD5"),
        (replace(archive, bytes=len(data) + 1), "came with"),
        (replace(archive, bytes=len(data) - 1), "longer than"),
    ]
    for claim, problem in wrong:
        with pytest.raises(UserError, match=problem):
            download_archive(claim, cache)
        assert not [path for path in cache.iterdir() if not path.name.endswith(".lock")]
    first = hashlib.md5(data[: 1 << 20], usedforsecurity=False).hexdigest()
    assert download_archive(replace(archive, sha256="", md5_of_first_mebibyte=first), cache).read_bytes() == data


def test_a_broken_transfer_is_not_kept(server, cache):
    archive = published(server, bytes(100_000))
    server.cut = True
    with pytest.raises((OSError, UserError)):
        download_archive(archive, cache)
    assert not list(cache.glob("imagenette*"))
    server.cut = False
    assert download_archive(archive, cache).stat().st_size == 100_000
    with pytest.raises(OSError, match="404"):
        download_archive(replace(archive, url=f"{server.url}/none.tgz"), cache)


def test_a_disk_without_room_is_found_before_the_download(server, cache, monkeypatch):
    usage = type("usage", (), {"free": 10})
    monkeypatch.setattr("sota_bench.data.download.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match="no room"):
        download_archive(published(server, bytes(1000)), cache)
    assert server.asked == []
