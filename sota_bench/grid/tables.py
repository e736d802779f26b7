"""The tables ``[grid]`` and ``[data]``: their keys, documented and validated where they are defined."""

from __future__ import annotations

import json
import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from sota_bench.grid.draws import MEANING, SOURCES, Source
from sota_bench.grid.durations import minutes
from sota_bench.grid.names import safe_name
from sota_bench.grid.nearest import did_you_mean
from sota_bench.responses import PP, response_named
from sota_bench.responses import names as response_names

Design = Literal["full", "one-at-a-time", "leave-one-out", "fractional"]
Match = Literal["epochs", "minutes", "flops"]
Scope = Literal["seeds and images", "these images"]
Stop = Literal["seeds", "decided"]

FolderRole = Literal["train", "val", "test", "class", "skip"]

NAMED_SOURCES = ("known-effects", "imagenette", "imagewoof", "imagenet")
PATH_SOURCES = ("folder", "archive", "manifest")
TORCHVISION = "torchvision"
MAX_SEED = 2**32 - 1


class Table(BaseModel):
    """Base of the grid's own tables."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GridTable(Table):
    """``[grid]``: the question, how often it is asked, and what would count as an answer."""

    name: str = Field("", description="name of the report's folder; the file's name by default")
    question: str = Field("", max_length=2000, description="what you want to know; shown at the top of the report")
    notes: str = Field("", max_length=20000, description="anything else the report should say")
    seeds: tuple[int, ...] = Field(
        (0, 1, 2),
        min_length=1,
        description="each cell is trained once per seed, and trials of the same seed are paired; use 3 or more",
    )
    added_seeds: tuple[int, ...] = Field(
        (),
        description="seeds added after looking at the results; the report marks them and says how much a second look "
        "raises the error rate",
    )
    stop: Stop = Field(
        "seeds",
        description="when a run ends. seeds: once the seeds above are trained; decided: once every comparison is "
        "decided (helps, hurts, real but negligible, or no effect larger than smallest_effect). Comparisons that are "
        "still open get more seeds, at looks planned in advance, so that all looks together keep the 5% error rate",
    )
    max_seeds: int = Field(
        20,
        ge=2,
        le=10_000,
        description='with stop = "decided": the most seeds per cell; the run ends at this number, even if comparisons '
        "are still open",
    )
    budget: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        examples=["40 min"],
        description='with stop = "decided": wall-clock minutes, or text such as "40 min"; a look that is predicted '
        "to take longer than the time left is not started",
    )
    vary: tuple[Source, ...] = Field(
        ("init", "order", "augment"),
        min_length=1,
        description="what differs from seed to seed. "
        + "; ".join(f"{source}: {meaning}" for source, meaning in MEANING.items())
        + ". What is not listed is the same for all seeds; the test split never varies",
    )
    design: Design = Field(
        "full",
        description="full: every combination of levels; one-at-a-time: the baseline, and each other level alone; "
        "leave-one-out: the last level of every factor, and each factor in turn back at its first level; fractional: "
        "the smallest balanced part of all combinations with the given `resolution`; factors that change only the "
        "evaluation are still crossed in full, since they need no training",
    )
    resolution: Literal[4, 5] | None = Field(
        None,
        examples=[4],
        description="resolution of a fractional design, 4 by default. 4: main effects are not aliased with two-factor "
        "interactions, but these are aliased with each other; 5: two-factor interactions are not aliased with each "
        "other either",
    )
    refine: bool = Field(
        False,
        description="after a fractional design, also run the full factorial of the factors whose effects are clear, "
        "with the others at their baseline; its grid and report are in the folder `refined` inside the report's folder",
    )
    minutes_per_iteration: float | None = Field(
        None,
        gt=0,
        le=100_000,
        description='the goal for the time of one training and its evaluation, in minutes or as text such as "90 s"',
    )
    response: tuple[str, ...] = Field(
        ("accuracy",),
        min_length=1,
        description="the metric by which levels are compared, or a list of metrics: "
        + ", ".join(response_names())
        + ". Each metric has its own family of verdicts, and the first one ranks the cells. Lower is better for nll, "
        "ece, brier, forgetting and minutes",
    )
    smallest_effect: float | dict[str, float] | None = Field(
        None,
        description="the smallest difference that matters to you: a number in the unit of the response (percentage "
        "points of accuracy), or one for each response, such as { accuracy = 1.0, nll = 0.02 }",
    )
    scope: Scope = Field(
        "seeds and images",
        description="what intervals and verdicts generalize to. seeds and images: other seeds, and other images like "
        "the evaluation images; these images: other seeds only, evaluated on exactly these images",
    )
    match: Match = Field(
        "epochs",
        description="what all cells have in common. epochs: they train the epochs that the grid gives; minutes or "
        "flops: their epochs are scaled so that each training costs as much as the baseline's, in predicted minutes "
        "on this machine or in counted FLOPs",
    )
    techniques: tuple[str, ...] = Field(
        (), description="local technique files (Python code that runs when the grid is read), relative to the grid"
    )

    @property
    def smallest_effects(self) -> dict[str, float]:
        """The smallest difference that matters by response; those that none is set for are missing."""
        if isinstance(self.smallest_effect, dict):
            return self.smallest_effect
        return {} if self.smallest_effect is None else {self.response[0]: self.smallest_effect}

    @field_validator("name")
    @classmethod
    def _stays_inside(cls, name: str) -> str:
        return safe_name(name)

    @field_validator("minutes_per_iteration", "budget", mode="before")
    @classmethod
    def _duration(cls, value: object) -> object:
        return minutes(value)

    @field_validator("response", mode="before")
    @classmethod
    def _responses(cls, value: object) -> object:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{str(value)[:80]} is not a response; write a name or a list of names in quotes")
        for name in names:
            _known_response(name)
        if len(set(names)) < len(names):
            raise ValueError("a response is named twice; name each one once")
        return tuple(names)

    @field_validator("smallest_effect", mode="before")
    @classmethod
    def _positive(cls, value: object, info: ValidationInfo) -> object:
        responses = info.data.get("response", ("accuracy",))
        if value is None or isinstance(value, dict):
            for name, size in (value or {}).items():
                _known_response(name)
                _check_effect(name, size)
            return value
        _check_effect(responses[0], value)
        if len(responses) > 1:
            table = ", ".join(f"{_toml_key(name)} = ..." for name in responses)
            raise ValueError(f"{value} does not say which of {len(responses)} responses it is for; write {{ {table} }}")
        return value

    @field_validator("seeds", "added_seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        return distinct_seeds(seeds)

    @field_validator("vary")
    @classmethod
    def _each_once(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        if len(set(sources)) < len(sources):
            raise ValueError("a source is named twice; name each one once")
        return tuple(source for source in SOURCES if source in sources)

    @field_validator("techniques")
    @classmethod
    def _files(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for file in files:
            if not file.endswith(".py") or "\0" in file:
                raise ValueError(f"{file[:80]!r} is not a Python file; write paths that end in .py")
        if len(set(files)) != len(files):
            raise ValueError("a file is named twice; name each one once")
        return files


class DataTable(Table):
    """``[data]``: which images, and at which size they are kept."""

    source: str = Field(
        "known-effects",
        description="known-effects (synthetic images that the tool renders, as a control), imagenette, "
        "imagewoof, imagenet, torchvision:NAME (such as torchvision:CIFAR10), folder:PATH, archive:PATH, or "
        "manifest:PATH (the images that a manifest.csv of `curate` keeps). Transparent pixels become black. "
        "`python -m sota_bench data SOURCE` shows how a source is read",
    )
    sources: tuple[str, ...] = Field(
        (),
        examples=[["imagenette", "folder:photos"]],
        description="several data sets instead of `source`: every cell is run on each of them, and effects are "
        "reported for each data set, compared between them and averaged over them",
    )
    path: str = Field(
        "",
        description="folder or archive of a named source or of a manifest's images, if it is not found automatically, "
        "or the `root` that torchvision stored a data set in; relative to the grid",
    )
    size: int = Field(
        0,
        ge=0,
        le=2048,
        description="shorter side of the stored images in pixels; 0 derives it from the largest size in the grid. Set "
        "it to compare cells of different grids",
    )
    cache: Literal["auto", "pixels", "jpeg", "none"] = Field(
        "auto",
        description="how images are kept at that size. pixels: decoded; jpeg: as JPEGs of quality 90, about a tenth of "
        "the disk space, decoded at each use; none: not stored, decoded from the source at each use, with the same "
        "pixel values as `pixels`; auto: pixels up to 64 GiB, else jpeg",
    )

    root: str = Field("", description="folder of the data set inside the source; detected by default")
    folders: dict[str, FolderRole] = Field(
        {},
        description='what folders hold, by name or by path below `root`: "train", "val", "test", "class" or "skip"; '
        'for example { masks = "skip" }. Needed only if folder names are misleading',
    )
    labels: str = Field(
        "",
        description='a table of labels inside the source, such as "train.csv" (CSV, TSV, JSON lines, or lines of a '
        'file name and a label), or "folders" to use class folders and ignore tables; detected by default',
    )
    file_column: str = Field("", description="column of that table with the file names; detected by default")
    label_column: str = Field("", description="column of that table with the labels; detected by default")
    split_column: str = Field("", description="column of that table with the splits; detected by default")
    group: str = Field(
        "",
        examples=["patient", "(video[0-9]+)"],
        description="which images belong together, such as those of one patient, burst or video, and stay in one "
        "split: a column of the table of labels, or a regular expression whose parentheses capture what the paths of "
        "such images share",
    )
    pixel_range: tuple[float, float] | None = Field(
        None,
        examples=[[0, 4095]],
        description="values that become black and white in images with more than 8 bits per channel, such as "
        "[0, 4095]; by default one range for the whole data set, determined from its images",
    )

    @field_validator("root")
    @classmethod
    def _inside(cls, root: str) -> str:
        if "\0" in root or root.startswith("/") or ".." in root.split("/"):
            raise ValueError(f'{root[:80]!r} is not inside the source; write a path below it, such as "ds/images"')
        return root

    @field_validator("pixel_range")
    @classmethod
    def _rising(cls, pixel_range: tuple[float, float] | None) -> tuple[float, float] | None:
        if pixel_range is not None and not pixel_range[0] < pixel_range[1]:
            raise ValueError(f"{list(pixel_range)} does not rise; write black before white, such as [0, 4095]")
        return pixel_range

    @field_validator("source")
    @classmethod
    def _known(cls, source: str) -> str:
        return known_source(source)

    @field_validator("sources")
    @classmethod
    def _several(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if len(sources) == 1:
            raise ValueError("it names one data set; write source, or name two or more")
        if len(set(sources)) < len(sources):
            raise ValueError("a data set is named twice; name each one once")
        return tuple(map(known_source, sources))

    @field_validator("path")
    @classmethod
    def _path(cls, path: str) -> str:
        if "\0" in path:
            raise ValueError("a path cannot hold a NUL; write the path of a folder or an archive")
        return path

    @field_validator("size")
    @classmethod
    def _large_enough(cls, size: int) -> int:
        if 0 < size < 8:
            raise ValueError(f"{size} px is too small; write 8 or more, or 0 for what the grid needs")
        return size


def _known_response(name: str) -> None:
    """Raises ValueError: there is no such response."""
    try:
        response_named(name)
    except KeyError:
        valid = list(response_names())
        remedy = did_you_mean(name, valid, f"write one of {', '.join(valid)}")
        raise ValueError(f"{name[:80]!r} is not a response; {remedy}") from None


def _check_effect(name: str, size: object) -> None:
    """Raises ValueError: it cannot be the smallest effect of interest on a response."""
    most = 100 if response_named(name).unit == PP else None
    remedy = "write a number above 0" + (f" and up to {most}" if most else "")
    if isinstance(size, bool) or not isinstance(size, int | float):
        raise ValueError(f"{str(size)[:80]!r} is not a number; {remedy}")
    if not 0 < size <= (most or math.inf) or size == math.inf:
        raise ValueError(f"{size} is out of range for {name}; {remedy}")


def _toml_key(name: str) -> str:
    return name if name.replace("_", "").isalnum() else json.dumps(name, ensure_ascii=False)


def known_source(source: str) -> str:
    """The source as it is.

    Raises:
        ValueError: it is none that the tool knows.
    """
    kind, colon, path = source.partition(":")
    if source in NAMED_SOURCES or (kind in (*PATH_SOURCES, TORCHVISION) and path.strip() and "\0" not in path):
        return source
    if colon and kind in PATH_SOURCES:
        raise ValueError(f"{source[:80]!r} names no path; write {kind}:PATH")
    if colon and kind == TORCHVISION:
        raise ValueError(f"{source[:80]!r} names no data set; write {kind}:NAME, such as {kind}:CIFAR10")
    valid = [*NAMED_SOURCES, f"{TORCHVISION}:NAME", *(f"{name}:PATH" for name in PATH_SOURCES)]
    remedy = did_you_mean(source, valid, "write one of " + ", ".join(valid))
    raise ValueError(f"{source[:80]!r} is not a data source; {remedy}")


def distinct_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    """The seeds as they are.

    Raises:
        ValueError: one is negative or too large, or stands there twice.
    """
    for seed in seeds:
        if not 0 <= seed <= MAX_SEED:
            shown = str(seed) if abs(seed) < 10**12 else "a seed"
            raise ValueError(f"{shown} is out of range; write whole numbers from 0 to {MAX_SEED}")
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1}) if len(set(seeds)) < len(seeds) else []
    if repeated:
        raise ValueError(f"seed {repeated[0]} occurs twice; write each seed once")
    return seeds
