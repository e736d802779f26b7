"""``list`` shows all that a grid can name, and the reference page is what it writes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from sota_bench import registry
from sota_bench.cli import main
from sota_bench.data.find import NAMED_DATASETS
from sota_bench.data.names import IMAGENETTE
from sota_bench.grid.fields import recipe_fields
from sota_bench.grid.tables import NAMED_SOURCES, PATH_SOURCES, TORCHVISION

ROOT = Path(__file__).parents[2]


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["list", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_overview(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys)
    for name in registry.techniques():
        assert f"\n{name} " in text
    for source in NAMED_SOURCES:
        assert f"\n{source} " in text
    assert "\nresnet18 " in text
    assert all(len(line) <= 100 and line == line.rstrip() for line in text.splitlines())
    assert "\x1b" not in text


def test_json_has_cards_settings_and_where_sources_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for part, name in itertools.product(("train", "val"), IMAGENETTE):
        (tmp_path / "imagenette2-160" / part / name).mkdir(parents=True)
    monkeypatch.setenv("SOTA_BENCH_DATA", str(tmp_path))
    found = json.loads(shown(capsys, "--json"))
    assert set(found) == {"techniques", "fields", "sources", "backbones"}
    sources = {row["name"]: row["found"] for row in found["sources"]}
    assert sources["known-effects"] == "built in"
    assert sources["imagenette"] == str(tmp_path / "imagenette2-160")
    assert {row["name"] for row in found["techniques"]} == set(registry.techniques())
    for row in found["techniques"]:
        card = registry.techniques()[row["name"]].card
        assert row["card"] == card.model_dump() and row["settings"] and row["levels"]


@pytest.mark.parametrize("what", ["techniques", "fields", "sources", "backbones"])
def test_sections(capsys: pytest.CaptureFixture[str], what: str) -> None:
    rows = json.loads(shown(capsys, what, "--json"))
    text = shown(capsys, what)
    assert rows and all(f"\n{row['name']}" in text for row in rows)


def test_every_technique_shows_its_whole_card(capsys: pytest.CaptureFixture[str]) -> None:
    for name, technique in registry.techniques().items():
        text = " ".join(shown(capsys, name).split())
        for field, value in technique.card.model_dump().items():
            words = value.split()
            assert " ".join(words[:3]) in text, (name, field)


def test_a_field_and_a_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    assert "peak learning rate" in shown(capsys, "lr")
    assert "11.18 M" in shown(capsys, "resnet18")
    assert shown(capsys, "resnet34").startswith("resnet34 is a backbone of the installed timm")


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "batchsize"]) == 2
    assert capsys.readouterr().err == "list: nothing is called 'batchsize'; did you mean batch_size?\n"


def test_the_sources_are_those_that_a_grid_accepts_and_the_data_layer_opens() -> None:
    from sota_bench.commands.list import SOURCES

    assert set(SOURCES) == {*NAMED_SOURCES, f"{TORCHVISION}:NAME", *(f"{kind}:PATH" for kind in PATH_SOURCES)}
    assert set(NAMED_SOURCES) == {"known-effects", *NAMED_DATASETS}


def test_the_committed_reference_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--markdown")
    assert (ROOT / "REFERENCE.md").read_text(encoding="utf-8") == text, "run `python -m sota_bench list --markdown`"
    for field in recipe_fields():
        assert f"| `{field.name}` |" in text
