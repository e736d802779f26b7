"""``export --to hub:NAME`` through huggingface_hub's own client, against a server on this machine that speaks the
endpoints of the hub: creating a repository, the upload of large files, the commit, and downloads."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from lab import CLASSES
from safetensors.torch import load_file
from ship_lab import Exported, run_and_export

from sota_bench.errors import UserError
from sota_bench.ship.hub import repository_name

REPOSITORY = "someone/small"
COMMIT = "0" * 40


class Hub(ThreadingHTTPServer):
    """One repository, as it was uploaded.

    Attributes:
        files: path -> content, once committed.
        objects: sha256 -> content of uploaded large files.
        created: what creating the repository asked for; None before.
        tokens: every token that was sent.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.files: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.created: dict[str, Any] | None = None
        self.tokens: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Requests(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keeps standard error free."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while length := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, values: Any, status: int = 200) -> None:
        content = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        body, hub, path = self._body(), self.server, self.path.partition("?")[0]
        hub.tokens.add(self.headers.get("Authorization", ""))
        if path == "/api/repos/create":
            hub.created = json.loads(body)
            self._answer({"url": f"{hub.url}/{REPOSITORY}"})
        elif path == "/api/validate-yaml":
            front = json.loads(body)["content"].split("---")[1]
            named = re.search(r"^license_name: (.*)$", front, re.M)
            good = named is None or re.fullmatch(r"[a-z0-9-.]+", named[1])
            self._answer(
                {"errors": [] if good else [{"message": "license_name"}], "warnings": []}, 200 if good else 400
            )
        elif path == f"/api/models/{REPOSITORY}/preupload/main":
            files = json.loads(body)["files"]
            large = (".safetensors", ".onnx")
            modes = [("lfs" if file["path"].endswith(large) else "regular", file["path"]) for file in files]
            self._answer({"files": [{"path": name, "uploadMode": mode, "shouldIgnore": False} for mode, name in modes]})
        elif path == f"/{REPOSITORY}.git/info/lfs/objects/batch":
            wanted = json.loads(body)["objects"]
            upload = [{"upload": {"href": f"{hub.url}/objects/{file['oid']}"}} for file in wanted]
            self._answer(
                {
                    "transfer": "basic",
                    "objects": [{**file, "actions": to} for file, to in zip(wanted, upload, strict=True)],
                }
            )
        elif path == f"/api/models/{REPOSITORY}/commit/main":
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    hub.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    hub.files[value["path"]] = hub.objects[value["oid"]]
            self._answer({"commitUrl": f"{hub.url}/{REPOSITORY}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self._answer({"error": f"no such endpoint: {path}"}, 404)

    def do_PUT(self) -> None:
        content = self._body()
        digest = hashlib.sha256(content).hexdigest()
        self.server.objects[digest] = content
        self._answer({}, 200 if self.path == f"/objects/{digest}" else 400)

    def do_HEAD(self) -> None:
        self._download(with_content=False)

    def do_GET(self) -> None:
        self._download(with_content=True)

    def _download(self, with_content: bool) -> None:
        content = self.server.files.get(self.path.removeprefix(f"/{REPOSITORY}/resolve/main/"))
        if content is None:
            self._answer({"error": "no such file"}, 404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_content:
            self.wfile.write(content)


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run_and_export(tmp_path_factory.mktemp("hub"), trial="c00")


def run_python(words: list[Any], endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Runs Python as somebody whose hub is ``endpoint``; the protocol of files is Git LFS, not Xet."""
    surroundings = {"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_of_a_test", "HF_HOME": str(home)}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, **surroundings, "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_upload_and_timm_loads_it_from_the_hub(exported: Exported, hub: Hub, tmp_path: Path) -> None:
    words = ["-m", "sota_bench", "export", exported.grid, "--store", exported.store, "--trial", "c00"]
    done = run_python([*words, "--to", f"hub:{REPOSITORY}"], hub.url, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"uploaded: {hub.url}/{REPOSITORY}" in done.stdout
    assert hub.created is not None
    assert (hub.created["organization"], hub.created["name"]) == tuple(REPOSITORY.split("/"))
    assert hub.created["visibility"] == "private"
    assert hub.tokens == {"Bearer hf_of_a_test"}
    assert set(hub.files) == {file.name for file in exported.bundle.folder.iterdir()}
    (tmp_path / "model.safetensors").write_bytes(hub.files["model.safetensors"])
    uploaded, own = (load_file(folder / "model.safetensors") for folder in (tmp_path, exported.bundle.folder))
    assert uploaded.keys() == own.keys()
    assert all(bool((uploaded[name] == own[name]).all()) for name in own)

    script = f"import timm; m = timm.create_model('hf-hub:{REPOSITORY}', pretrained=True); print(m.num_classes)"
    loaded = run_python(["-c", script], hub.url, tmp_path / "home")
    assert (loaded.returncode, loaded.stdout.strip()) == (0, str(len(CLASSES))), loaded.stderr


def test_no_server_is_one_line(exported: Exported, tmp_path: Path) -> None:
    words = ["-m", "sota_bench", "export", exported.grid, "--store", exported.store, "--trial", "c00"]
    done = run_python([*words, "--to", f"hub:{REPOSITORY}"], "http://127.0.0.1:9", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be uploaded" in done.stderr


@pytest.mark.parametrize("target", [REPOSITORY, "hub:", "hub:a//b", "hub:-a/b"])
def test_what_is_no_repository(target: str) -> None:
    with pytest.raises(UserError, match="write hub:NAME"):
        repository_name(target)
