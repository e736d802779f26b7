"""A run in a process of its own, to be killed: ``drive.py STORE SPEC`` with the stages pickled."""

from __future__ import annotations

import json
import pickle
import signal
import sys
from pathlib import Path

from sota_bench.engine.events import StageDone, StageProgress, StageStarted
from sota_bench.engine.run_stages import run_stages
from sota_bench.errors import UserError
from sota_bench.stages.stage import Stage
from sota_bench.store import Store


def main() -> int:
    """Run the stages; prints ``started``, ``progress`` and ``done`` lines, and the summary."""
    sys.path.insert(0, str(Path(__file__).parent))
    for signum in (signal.SIGINT, signal.SIGHUP):  # a suite in the background ignores them, and its children with it
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    spec = pickle.loads(Path(sys.argv[2]).read_bytes())
    stages: list[Stage] = spec["stages"]
    store = Store(Path(sys.argv[1]))

    def tell(event: object) -> None:
        if isinstance(event, StageStarted):
            print("started", event.stage.title, event.pid, flush=True)
        if isinstance(event, StageProgress):
            print("progress", event.stage.title, event.progress.done, event.progress.note, flush=True)
        if isinstance(event, StageDone) and not event.reused:
            print("done", event.stage.title, flush=True)

    try:
        with store.hold("drive"):
            summary = run_stages(stages, store, execute="fake_stages:execute", on_event=tell, **spec["settings"])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print("summary", json.dumps({"ran": summary.ran, "failed": list(summary.failed), "left": summary.left}))
    return 130 if summary.interrupted else int(not summary.complete)


if __name__ == "__main__":
    sys.exit(main())
