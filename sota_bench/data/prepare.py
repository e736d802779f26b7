"""The stage that makes the cache of all images of a grid."""

from __future__ import annotations

import time
from typing import cast

from sota_bench.data.build import build_cache
from sota_bench.data.manifest import Manifest
from sota_bench.data.packed import CacheKind
from sota_bench.data.specs import source_from_spec
from sota_bench.data.split import SPLITS
from sota_bench.data.subset import choose
from sota_bench.stages.context import PrepareContext
from sota_bench.stages.params import PrepareParams
from sota_bench.stages.protocol import PlanAgain, Progress, RunContext, StageOutcome
from sota_bench.stages.results import PrepareResult


def prepare(params: PrepareParams, context: PrepareContext, run: RunContext) -> StageOutcome:
    """Decodes the images that any subset of the grid uses, and keeps them in ``cache/`` as asked for.

    Raises:
        PlanAgain: some images turned out not to decode; their source leaves them out from now on.
    """
    started = time.perf_counter()
    manifest = Manifest.load(context.manifest)
    contents: set[str] = set()
    for choice in context.choices:
        subset = choose(manifest, **choice.arguments())
        contents.update(sha for split in SPLITS for sha in subset.contents(split))
    items = manifest.items[manifest.items["sha256"].isin(contents)]

    def report(done: int, total: int) -> None:
        rate = done / max(time.perf_counter() - started, 1e-9)
        run.progress(Progress(done, total, images_per_s=rate, note="decoding"))

    source, kind = source_from_spec(dict(context.source)), cast(CacheKind, params.cache or "pixels")
    cache = build_cache(run.workspace / "cache", source, items, params.size, context.processes, report, kind=kind)
    if cache["left_out"]:
        path, reason = cache["left_out"][0]
        problem = f"{len(cache['left_out'])} images cannot be used, such as {path} ({reason})"
        raise PlanAgain(f"data: {problem}; they are left out from now on, or listed anew if they changed: run again")
    result = PrepareResult(images=cache["count"], bytes=cache["bytes"])
    return StageOutcome(result.to_json(), {"prepare": time.perf_counter() - started}, 0.0)
