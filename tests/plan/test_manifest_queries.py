"""A large manifest answers from a process of its own what it answers here, and that process does not stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from sota_bench.data.find import open_source
from sota_bench.data.manifest import Manifest
from sota_bench.errors import UserError
from sota_bench.grid import load
from sota_bench.plan import manifest_queries
from sota_bench.plan.machine import Machine
from sota_bench.plan.make import make_plan, manifest_file, remake_plan
from sota_bench.plan.manifest_queries import ManifestQueries, RemoteManifest, manifest_of, stored_manifest
from sota_bench.plan.recorded import plan_record
from sota_bench.stages.context import ImageChoice

GRID = """
[grid]
name = "g"
[data]
source = "folder:images"
[recipe]
backbone = "test_vit"
resize = "16x1"
[factors]
fraction = [0.5, 1.0]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A grid beside a folder of 2 classes x 2 splits x 8 images."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            where = tmp_path / "images" / split / label
            where.mkdir(parents=True)
            for number in range(8):
                Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(where / f"{number}.png")
    (tmp_path / "grid.toml").write_text(GRID)
    return tmp_path


def children() -> list[psutil.Process]:
    """Started by multiprocessing, without its own process that counts resources."""
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_apart_as_here(folder: Path) -> None:
    source = open_source(f"folder:{folder / 'images'}")
    told: list[tuple[int, int]] = []
    here, before = ManifestQueries(source.scan()), len(children())
    apart = RemoteManifest(source, lambda done, total: told.append((done, total)))
    assert apart.digest == here.digest() and apart.classes == ["cat", "dog"] and len(children()) == before + 1
    assert told and told[-1] == (32, 32)
    choices = (ImageChoice(fraction=0.5), ImageChoice(fraction=1.0))
    for choice in choices:
        assert apart.ask(ManifestQueries.subset, choice) == here.subset(choice)
    assert apart.ask(ManifestQueries.contents_digest, choices) == here.contents_digest(choices)
    assert apart.ask(ManifestQueries.paths, 5) == here.paths(5)
    assert apart.ask(ManifestQueries.part, choices[:1], "few").items.equals(here.part(choices[:1], "few").items)

    apart.save(folder / "manifest.csv")
    assert len(children()) == before, "the process is gone"
    assert Manifest.load(folder / "manifest.csv").digest == apart.digest
    assert apart.ask(ManifestQueries.paths, 5) == here.paths(5), "asked again, it reads the file"
    apart.close()


def test_a_plan_is_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    here, _ = make_plan(load(Path("grid.toml")), Machine(folder / "store"))
    monkeypatch.setattr(manifest_queries, "LARGE", 10)
    assert isinstance(manifest_of(open_source("folder:images")), RemoteManifest)
    apart, _ = make_plan(load(Path("grid.toml")), Machine(folder / "store"))
    assert isinstance(apart.images.manifest, RemoteManifest)
    assert list(apart.stages) == list(here.stages)
    apart.images.manifest.save(folder / "stored.csv")
    assert isinstance(stored_manifest(folder / "stored.csv"), RemoteManifest)


@pytest.mark.parametrize("large", [10, 50_000])
def test_a_stored_manifest_that_is_damaged_is_refused_and_written_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(manifest_queries, "LARGE", large)
    grid, store = load(Path("grid.toml")), folder / "store"
    plan, _ = make_plan(grid, Machine(store))
    file = manifest_file(store, plan.images.manifest.digest)
    plan.images.manifest.save(file)
    whole = file.read_text()
    file.write_text(whole.replace("cat,", "cow,"))
    with pytest.raises(UserError, match=f"{file}: is not the manifest of that name: it is damaged; run the grid again"):
        remake_plan(grid, store, plan_record(plan))
    plan, _ = make_plan(grid, Machine(store))
    plan.images.manifest.save(file)
    assert file.read_text() == whole and list(remake_plan(grid, store, plan_record(plan)).stages) == list(plan.stages)


def test_a_mistake_is_the_same_line(tmp_path: Path) -> None:
    (tmp_path / "images" / "train" / "cat").mkdir(parents=True)
    source = open_source(f"folder:{tmp_path / 'images'}")
    with pytest.raises(UserError) as here:
        source.scan()
    with pytest.raises(UserError) as apart:
        _ = RemoteManifest(source, lambda done, total: None).digest
    assert str(apart.value) == str(here.value)
