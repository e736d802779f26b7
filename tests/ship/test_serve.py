"""``predict BUNDLE --serve``: the server as it is started, its limits, and its page in a real browser."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from browser_check import run_script
from lab import CLASSES
from ship_lab import Exported, judged_files, predicted, run_and_export

from sota_bench.ship.serve import LARGEST_UPLOAD


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run_and_export(tmp_path_factory.mktemp("serve"), trial="c00")


@pytest.fixture(scope="module")
def url(exported: Exported) -> Iterator[str]:
    """The address of a server that lives as long as the module; in the end an interruption stops it."""
    words = ["-m", "sota_bench", "predict", str(exported.bundle.folder), "--serve", "--port", "0"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, env=os.environ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[1]
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0


def ask(
    url: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request(method, path, body or None, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def test_it_answers_as_predict_does(exported: Exported, url: str) -> None:
    file = judged_files(exported)[0]
    status, _, body = ask(url, "POST", f"/predict?name={quote(file.name)}", file.read_bytes())
    (row,) = predicted(exported, file)
    answer = json.loads(body)
    assert (status, answer["path"], answer["class"]) == (200, file.name, row["class"])
    assert answer["top"] == dict(list(row["top"].items())[:3])


def test_what_is_no_image_and_what_is_too_large(url: str) -> None:
    status, _, body = ask(url, "POST", "/predict?name=notes.txt", b"no image")
    assert status == 400
    assert "not a readable image" in json.loads(body)["error"]
    status, _, body = ask(url, "POST", "/predict", bytes(LARGEST_UPLOAD + 1))
    assert (status, json.loads(body)) == (413, {"error": "larger than 32 MiB"})
    assert ask(url, "GET", "/")[0] == 200  # it goes on


def test_other_sites_and_paths_are_refused(url: str) -> None:
    assert ask(url, "GET", "/", headers={"Host": "rebound.example"})[0] == 400
    assert ask(url, "POST", "/predict", b"x", {"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert ask(url, "GET", "/../serve.py")[0] == 404
    assert ask(url, "GET", "/page.html")[0] == 404
    headers = ask(url, "GET", "/")[1]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_in_a_browser(exported: Exported, url: str, tmp_path: Path) -> None:
    file = judged_files(exported)[0]
    (tmp_path / "damaged.png").write_bytes(b"no image")
    script = Path(__file__).parent / "browser" / "drop.mjs"
    code, checks = run_script(script, tmp_path, url, str(file), "damaged.png")
    assert (code, [check["problems"] for check in checks if check["problems"]]) == (0, [])
    rows = {check["check"]: check["rows"] for check in checks if "rows" in check}
    (row,) = predicted(exported, file)
    expected = list(row["top"])[:3]
    assert [row["classes"] for row in rows["dropped"]] == [expected, expected]
    assert set(expected) <= set(CLASSES)
    assert rows["damaged"][0]["error"].startswith("Not predicted: not a readable image")
