"""A soak of the engine: hundreds of tiny stages, random faults, kills of driver and workers, and a count at the end.

``python benchmarks/soak.py`` runs a graph of 600 stages (the default) in a driver process that is killed with
SIGKILL at random 50 times, whose workers are killed, and whose artifacts and ledger get flipped bits in between; some
stages crash, raise, diverge or run out of memory once. It then lets the graph finish, with failed stages retried, and
checks that every stage is done exactly once, with the number that follows from its inputs. A second part runs the
same number of stages undisturbed in this process and reports the memory of driver and worker over time.

Prints one JSON object; exit code 1 when anything is lost, doubled or wrong, or memory grows.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

ENGINE_TESTS = Path(__file__).resolve().parent.parent / "tests" / "engine"
sys.path.insert(0, str(ENGINE_TESTS))
os.environ["PYTHONPATH"] = os.pathsep.join([str(ENGINE_TESTS.parent.parent), os.environ.get("PYTHONPATH", "")])

from fake_stages import make, params_of, value_of  # noqa: E402
from processes import kill_a_worker  # noqa: E402

from sota_bench.engine import events  # noqa: E402
from sota_bench.engine.run_stages import run_stages  # noqa: E402
from sota_bench.stages.stage import Stage  # noqa: E402
from sota_bench.store import Store  # noqa: E402

FAULTS = ("raise", "kill", "segfault", "exit", "memory", "diverge", "float", "sysexit")
MOST_GROWTH_MB = 20.0
MARK = "SOTA_BENCH_SOAK"
os.environ[MARK] = str(os.getpid())


def graph(count: int, generator: np.random.Generator, fault_rate: float) -> list[Stage]:
    """Random stages, each with up to two parents among the latest fifty, some of which fail the first time."""
    stages: list[Stage] = []
    for index in range(count):
        low = max(0, index - 50)
        parents = [
            stages[n] for n in sorted(set(generator.integers(low, index, generator.integers(0, 3)).tolist()))
        ] if index else []  # fmt: skip
        bad = generator.random() < fault_rate
        does = str(generator.choice(FAULTS)) if bad else "work"
        stages.append(make(f"stage {index}", *parents, does=does, times=1, remembers=True, steps=4, step_s=0.005))
    return stages


def damage(store: Store, generator: np.random.Generator) -> str:
    """Flip one bit of a random artifact file or of the ledger."""
    kind = generator.choice(["result", "weights", "ledger"])
    keys = store.keys()
    if not keys:
        return "nothing"
    folder = store.folder(keys[int(generator.integers(len(keys)))])
    paths = {
        "result": folder / "result.json",
        "weights": folder / "weights.safetensors",
        "ledger": store.root / "ledger.sqlite",
    }
    path = paths[str(kind)]
    content = bytearray(path.read_bytes())
    content[int(generator.integers(len(content)))] ^= 1 << int(generator.integers(8))
    path.write_bytes(content)
    return str(kind)


def disturb(
    store: Store, stages: list[Stage], kills: int, generator: np.random.Generator, commits: Counter[str]
) -> dict[str, int]:
    """Run the graph in drivers that are killed, with workers killed and bits flipped in between; counts in ``commits``
    how often each stage was done."""
    counts = {"drivers killed": 0, "workers killed": 0, "bits flipped": 0, "runs that ended": 0}
    spec = store.root.parent / "spec.pickle"
    spec.write_bytes(pickle.dumps({"stages": stages, "settings": {"workers": 2}}))
    for _ in range(kills):
        driver = subprocess.Popen(
            [sys.executable, str(ENGINE_TESTS / "drive.py"), str(store.root), str(spec)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert driver.stdout is not None
        if generator.random() < 0.8:
            driver.stdout.readline()  # a stage has started; the others are killed while they start up
        time.sleep(float(generator.uniform(0.0, 1.2)))
        if generator.random() < 0.5:
            counts["workers killed"] += kill_a_worker(driver.pid, generator)
            time.sleep(float(generator.uniform(0.0, 0.3)))
        counts["runs that ended" if driver.poll() is not None else "drivers killed"] += 1
        driver.kill()
        driver.wait()
        commits.update(line.removeprefix("done ") for line in driver.stdout.read().splitlines() if line[:5] == "done ")
        driver.stdout.close()
        if generator.random() < 0.5:
            counts["bits flipped"] += damage(store, generator) != "nothing"
    return counts


def finish(store: Store, stages: list[Stage], commits: Counter[str]) -> int:
    """Let the graph end, with failed stages retried; how many rounds that took."""

    def count(event: events.Event) -> None:
        if isinstance(event, events.StageDone) and not event.reused:
            commits[event.stage.title] += 1

    for rounds in range(1, 30):
        with store.hold("soak"):
            retry = set(store.failed())
            summary = run_stages(stages, store, workers=2, execute="fake_stages:execute", retry=retry, on_event=count)
        damaged = [stage.key for stage in stages if not store.verify(stage.key)]
        if summary.complete and not damaged:
            return rounds
        with store.hold("soak"):
            for key in damaged:
                if store.folder(key).exists():
                    store.set_aside(key, "found by verify")
    raise SystemExit("the graph does not end")


def doubled(store: Store, stages: list[Stage], commits: Counter[str]) -> int:
    """How often a stage was done although its artifact was there: more often than it was set aside as damaged, and
    once."""
    aside = Counter(path.name.rpartition("-")[0] for path in (store.root / "damaged").iterdir())
    return sum(max(0, commits[stage.title] - aside[stage.key] - 1) for stage in stages)


def check(store: Store, stages: list[Stage], commits: Counter[str]) -> dict[str, int]:
    """Count what is lost, doubled, wrong, or left behind."""
    wrong = 0
    for stage in stages:
        inputs = {role: store.folder(key) for role, key in stage.parents.items()}
        wrong += store.result(stage.key).values["value"] != value_of(stage, inputs)
    keys, rows = store.keys(), store.rows()
    behind = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            behind += process.environ().get(MARK) == os.environ[MARK] and process.pid != os.getpid()
    return {
        "lost": len({stage.key for stage in stages} - set(keys)),
        "doubled": doubled(store, stages, commits),
        "not asked for": len(set(keys) - {stage.key for stage in stages}),
        "wrong": wrong,
        "not done in the ledger": sum(rows[stage.key].status != "done" for stage in stages),
        "workspaces left": len(list((store.root / "work").iterdir())),
        "processes left": behind,
    }


def memory(store: Store, count: int) -> dict[str, float]:
    """Resident memory of driver and worker over an undisturbed run of ``count`` stages, in 2**20 bytes."""
    driver, seen = psutil.Process(), {"driver": [], "worker": []}  # type: ignore[var-annotated]
    pids: list[int] = []

    def watch(event: events.Event) -> None:
        if isinstance(event, events.StageStarted):
            pids[:] = [event.pid]
        if isinstance(event, events.StageDone) and pids:
            seen["driver"].append(driver.memory_info().rss / 2**20)
            seen["worker"].append(psutil.Process(pids[0]).memory_info().rss / 2**20)

    stages = [make(f"quiet {index}", steps=1) for index in range(count)]
    began = time.monotonic()
    with store.hold("soak"):
        run_stages(stages, store, workers=1, execute="fake_stages:execute", on_event=watch)
    took = time.monotonic() - began
    tenth = max(1, count // 10)
    report = {"stages per second": round(count / took, 1)}
    for name, values in seen.items():
        early, late = float(np.median(values[tenth : 2 * tenth])), float(np.median(values[-tenth:]))
        report |= {f"{name} MB early": round(early, 1), f"{name} MB late": round(late, 1)}
        report[f"{name} MB growth"] = round(late - early, 1)
    return report


def main() -> int:
    """Run both parts and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--stages", type=int, default=600)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--fault-rate", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        stages = graph(options.stages, generator, options.fault_rate)
        report: dict[str, object] = {"stages": len(stages), "seed": options.seed}
        report["faulty stages"] = sum(params_of(stage).does != "work" for stage in stages)
        commits = Counter[str]()
        report |= disturb(store, stages, options.kills, generator, commits)
        report["done before the quiet end"] = sum(store.is_done(stage.key) for stage in stages)
        report["rounds to the end"] = finish(store, stages, commits)
        counts = check(store, stages, commits)
        flat = memory(Store(Path(folder) / "quiet"), options.stages)
    report |= counts | flat | {"minutes": round((time.monotonic() - began) / 60, 1)}
    print(json.dumps(report, indent=2))
    bad = any(counts.values()) or any(
        value > MOST_GROWTH_MB for name, value in flat.items() if name.endswith("growth")
    )  # fmt: skip
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
