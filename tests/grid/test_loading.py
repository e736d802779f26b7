"""A valid grid becomes exactly the typed values that were written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from sota_bench.errors import UserError
from sota_bench.grid import load

FULL = """
[grid]
name = "resizing"
question = "does it help?"
seeds = [3, 1]
added_seeds = [7]
design = "full"
minutes_per_iteration = "90 s"
smallest_effect = 1
match = "epochs"
[data]
source = "folder:photos"
size = 160
[recipe]
backbone = "resnet18"
resize = "128x5"
lr = 1
[factors]
resize = ["128x5", ["64x3", [128, 2]]]
dropout = [0, 0.2]
compile = [false, true]
"""


def test_every_value_is_typed_and_resolved(read, tmp_path: Path) -> None:
    grid = read(FULL)
    assert (grid.name, grid.question, grid.design, grid.match) == ("resizing", "does it help?", "full", "epochs")
    assert grid.seeds == (3, 1, 7) and grid.added_seeds == (7,)
    assert grid.minutes_per_iteration == 1.5 and grid.smallest_effect == 1.0
    assert grid.source == f"folder:{tmp_path / 'photos'}" and grid.data.size == 160
    assert grid.factors == {
        "resize": ("128x5", "64x3 128x2"), "dropout": (0.0, 0.2), "compile": ("off", "on")
    }  # fmt: skip
    assert (grid.recipe.resize, grid.recipe.lr, grid.recipe.backbone) == ("128x5", 1.0, "resnet18")
    assert grid.out == Path("reports/resizing") and grid.text == FULL
    assert json.loads(json.dumps(grid.resolved()))["factors"]["compile"] == ["off", "on"]


def test_a_grid_is_frozen(read) -> None:
    grid = read(FULL)
    with pytest.raises(ValidationError):
        grid.name = "other"


def test_defaults(read) -> None:
    grid = read("[factors]\nlr = [0.1, 0.2]")
    assert (grid.name, grid.seeds, grid.source, grid.design) == ("grid", (0, 1, 2), "known-effects", "full")
    assert grid.data_path is None and grid.minutes_per_iteration is None and grid.smallest_effect is None


def test_overrides_are_toml_and_bare_words_are_text(read) -> None:
    grid = read(
        FULL,
        "recipe.batch_size=32",
        "recipe.backbone = resnet10t",
        "grid.minutes_per_iteration=2 min",
        "factors.dropout=[0.1]",
        "recipe.batch_sizes={64 = 128}",
        "recipe.weights=",
        "data.source=known-effects",
    )
    assert grid.recipe.batch_size == 32 and grid.recipe.backbone == "resnet10t"
    assert grid.minutes_per_iteration == 2.0 and grid.factors["dropout"] == (0.1,)
    assert grid.recipe.batch_at(64) == 128 and grid.recipe.batch_at(32) == 32
    assert grid.recipe.weights == "" and grid.source == "known-effects"


def test_an_override_cannot_smuggle_a_second_key(read) -> None:
    with pytest.raises(UserError, match=r"^--set: recipe.lr: .* is not a number"):
        read(FULL, "recipe.lr=0.1\nbatch_size=7")


def test_seeds_option_replaces_the_seeds_and_keeps_the_mark(read) -> None:
    grid = read(FULL, seeds=[7, 5])
    assert grid.seeds == (5, 7) and grid.added_seeds == (7,)


def test_out_option(read, tmp_path: Path) -> None:
    assert read(FULL, out=tmp_path / "here").out == tmp_path / "here"


def test_bom_crlf_and_any_script_are_read(tmp_path: Path) -> None:
    path = tmp_path / "сетка.toml"
    path.write_bytes('\ufeff[grid]\r\nname = "größe-大小"\r\n[factors]\r\nlr = [0.1, 0.2]\r\n'.encode())
    assert load(path).name == "größe-大小"


def test_local_techniques_add_fields_and_take_their_own_shorthand(read, technique: str) -> None:
    grid = read(f"[grid]\n{technique}[data]\nanchor_classes = ['a', 'b']\n[factors]\nanchor = [false, true]")
    assert grid.factors["anchor"] == ("off", "on")
    assert grid.recipe.model_dump()["anchor_classes"] == ("a", "b")
    with pytest.raises(UserError, match=r"factors\.anchor: there is no such key"):
        read("[factors]\nanchor = [false, true]")


def test_a_technique_file_is_not_run_unless_it_is_named(read, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit(9)")
    read(FULL)


def test_two_techniques_may_name_their_validators_alike(read, technique: str) -> None:
    grid = read(f"[grid]\n{technique}[factors]\nwarm_start = [false, true]\nanchor = [true, false]\ncompile = [true]")
    assert grid.factors == {"warm_start": (False, True), "anchor": ("on", "off"), "compile": ("on",)}


def test_a_technique_may_not_redefine_a_field(read, tmp_path: Path) -> None:
    text = (
        "from sota_bench.technique import *\nclass S(Settings):\n    lr: float = setting(1.0, 'h', scope='train')\n"
        "class T(Technique):\n    name, field, off, settings_type = 'own-lr', 'lr', 0.0, S\n"
        "    card = Card(name='n', claim='c', response='nll', why='w', paper='p', defaults='d', cost='c', fails='f')\n"
    )
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(UserError, match="this recipe field belongs to every recipe"):
        read('[grid]\ntechniques = ["own.py"]\n[factors]\nlr = [0.1]')


def test_responses_with_their_smallest_effects(read) -> None:
    one = read('[grid]\nresponse = "nll"\nsmallest_effect = 0.02\n[factors]\nlr = [0.1, 0.2]')
    assert (one.response, one.smallest_effects, one.smallest_effect) == (("nll",), {"nll": 0.02}, 0.02)
    table = 'response = ["ece", "recall:a b"]\nsmallest_effect = { "recall:a b" = 5 }'
    several = read(f"[grid]\n{table}\n[factors]\nlr = [0.1, 0.2]")
    assert several.response == ("ece", "recall:a b") and several.smallest_effects == {"recall:a b": 5.0}
    assert several.smallest_effect is None
    claimed = read("[grid]\nsmallest_effect = { accuracy = 1, ece = 0.01 }\n[factors]\nmixup = [0.0, 0.2]")
    assert claimed.response == ("accuracy",) and claimed.smallest_effects["ece"] == 0.01


def test_sources_of_chance_are_in_one_order(read) -> None:
    grid = read('[grid]\nvary = ["split", "init"]\n[factors]\nlr = [0.1, 0.2]')
    assert grid.vary == ("init", "split") and grid.resolved()["vary"] == ["init", "split"]
    assert (grid.draws(5).init, grid.draws(5).order, grid.draws(5).split) == (5, 0, 5)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('response = "acc"', "response: 'acc' is not a response; did you mean accuracy?"),
        ("response = [1]", "response: [1] is not a response; write a name or a list of names in quotes"),
        ('response = ["nll", "nll"]', "response: a response is named twice; name each one once"),
        (
            'response = ["nll", "ece"]\nsmallest_effect = 1',
            "smallest_effect: 1 does not say which of 2 responses it is for; write { nll = ..., ece = ... }",
        ),
        (
            "smallest_effect = { nll = 1 }",
            "smallest_effect: the grid does not ask about nll; add it to grid.response, or leave it out here",
        ),
        (
            "smallest_effect = 101",
            "smallest_effect: 101 is out of range for accuracy; write a number above 0 and up to 100",
        ),
        ('vary = ["init", "init"]', "vary: a source is named twice; name each one once"),
    ],
)
def test_mistakes_about_responses_and_sources(read, keys: str, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        read(f"[grid]\n{keys}\n[factors]\nlr = [0.1, 0.2]")
    assert str(caught.value).partition("grid.toml: grid.")[2] == problem
