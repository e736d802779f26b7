"""``predict``: what it reads, what it names instead, its formats, ONNX Runtime, and memory that does not grow."""

from __future__ import annotations

import csv
import gc
import io
import json
import tarfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lab import CLASSES
from ship_lab import Exported, judged_files, predicted, probabilities, run_and_export

from sota_bench.ship.files import ImageFile
from sota_bench.ship.predict import Predictor


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run_and_export(tmp_path_factory.mktemp("predict"), trial="c00")


def test_folders_archives_lists_and_unreadable_files(exported: Exported, tmp_path: Path) -> None:
    files = judged_files(exported)[:3]
    folder = tmp_path / "some"
    folder.mkdir()
    for number, file in enumerate(files):
        (folder / f"{number}.png").write_bytes(file.read_bytes())
    (folder / ".DS_Store").write_bytes(b"hidden")
    archive = tmp_path / "some.tar"
    with tarfile.open(archive, "w") as opened:
        opened.add(folder, "some")
    expected = [row["class"] for row in predicted(exported, *files)]
    assert [row["class"] for row in predicted(exported, folder)] == expected
    assert [row["class"] for row in predicted(exported, archive)] == expected
    (folder / "3.png").write_bytes(b"no image")
    words = ("predict", exported.bundle.folder, folder, tmp_path / "absent.png", "--format", "jsonl")
    code, out, _ = exported.command(*words)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [row.get("class") for row in rows] == [*expected, None, None]
    assert all(row["error"] for row in rows[3:])


def test_views_change_probabilities(exported: Exported) -> None:
    file = judged_files(exported)[0]
    plain = predicted(exported, file)[0]["top"]
    words = ("predict", exported.bundle.folder, file, "--tta", "flip", "--format", "json", "--top", len(CLASSES))
    flipped = json.loads(exported.command(*words)[1])[0]["top"]
    assert flipped != plain
    assert sum(flipped.values()) == pytest.approx(1, abs=1e-5)


def test_a_list_on_standard_input(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    files = judged_files(exported)[:3]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{file}\n" for file in files)))
    assert [row["path"] for row in predicted(exported, "-")] == [str(file) for file in files]


def test_every_format_says_the_same(exported: Exported, tmp_path: Path) -> None:
    file, absent = judged_files(exported)[0], tmp_path / "absent.png"
    texts, errors = {}, {}
    for form in ("table", "csv", "json", "jsonl"):
        code, texts[form], errors[form] = exported.command(
            "predict", exported.bundle.folder, file, absent, "--format", form
        )
        assert code == 1
    rows = json.loads(texts["json"])
    assert [json.loads(line) for line in texts["jsonl"].splitlines()] == rows
    good, bad = csv.DictReader(io.StringIO(texts["csv"]))
    assert (good["class"], json.loads(good["top"]), good["error"]) == (rows[0]["class"], rows[0]["top"], "")
    assert (bad["path"], bad["class"], bad["error"]) == (str(absent), "", rows[1]["error"])
    assert texts["table"].startswith(f"{file}: {rows[0]['class']} {rows[0]['probability']:.1%}")
    assert errors == {"table": f"{absent}: not predicted: {rows[1]['error']}\n", "csv": "", "json": "", "jsonl": ""}


def test_any_number_of_images_takes_the_memory_of_two_batches(exported: Exported) -> None:
    content, count = judged_files(exported)[0].read_bytes(), 1500
    files: list[weakref.ref[ImageFile]] = []

    def stream() -> Iterator[ImageFile]:
        for number in range(count):
            file = ImageFile(str(number), content)
            files.append(weakref.ref(file))
            yield file

    predictor = Predictor(exported.bundle, "cpu")
    most = 0
    for number, prediction in enumerate(predictor(stream())):
        assert prediction.path == str(number)
        if number % 250 == 0:
            gc.collect()
            most = max(most, sum(file() is not None for file in files))
    assert number == count - 1
    assert most <= 2 * predictor.recipe.eval_batch_size < count / 2


def test_onnx_gives_the_logits_of_torch(exported: Exported) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from sota_bench.ship.onnx import LARGEST_DIFFERENCE, export_onnx

    images = exported.images / "val"
    words = ("predict", exported.bundle.folder, images, "--onnx", "--format", "json", "--top", len(CLASSES))
    code, _, err = exported.command(*words)
    assert (code, "export it again with --onnx" in err) == (2, True)
    assert export_onnx(exported.bundle) <= LARGEST_DIFFERENCE
    code, out, err = exported.command(*words)
    assert (code, err) == (0, "")
    own = probabilities(exported, predicted(exported, images))
    np.testing.assert_allclose(probabilities(exported, json.loads(out)), own, atol=0.02)  # bf16 beside fp32
    assert json.loads(exported.command(*words, "--tta", "flip")[1]) != json.loads(out)


def test_no_images_is_one_line(exported: Exported) -> None:
    code, _, err = exported.command("predict", exported.bundle.folder)
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = exported.command("predict", exported.bundle.folder, "x.png", "--serve")
    assert (code, err.count("\n")) == (2, 1)
