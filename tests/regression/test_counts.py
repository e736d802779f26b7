"""Exact counts: what they count, that one operation more is seen, and how a change announces that it is intended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sota_bench.cli import main
from sota_bench.errors import UserError
from sota_bench.regression import counts as exact
from sota_bench.regression.counts import WorkloadCounts
from sota_bench.regression.measure import graphs_of, laps_of, operations_of

COUNTED = """
from dataclasses import dataclass
from pathlib import Path
import tiny_package

def prepare(scratch, device):
    import torch
    more = (Path(tiny_package.__file__).parent / "extra.txt").exists()
    def run(lap):
        lap()
        for _ in range(2):
            x = torch.ones(4) + 1
            if more:
                x = x.neg()
            lap()
    return run

class One:
    control, timed, counts = False, False, "operations"
    prepare = staticmethod(prepare)

WORKLOADS = {"one": One()}
"""


def test_operations_bytes_and_synchronizations_are_those_of_the_code() -> None:
    import torch

    def run(lap: Callable[[], None]) -> None:
        torch.zeros(100)  # before the first lap: not counted
        lap()
        a = torch.ones(8, 8)  # writes 256 bytes
        b = a @ a.t()  # a view, and a product that reads two and writes one
        b.sum().item()  # reads 256, writes 4; reads 4, and the host waits
        lap()
        torch.zeros(100)

    counts = operations_of(run)
    assert counts["laps"] == 1 and counts["transferred_bytes"] == 0
    assert counts["by_operation"] == {
        "aten._local_scalar_dense.default": 1,
        "aten.mm.default": 1,
        "aten.ones.default": 1,
        "aten.sum.default": 1,
        "aten.t.default": 1,
    }
    assert counts["operations"] == 5 and counts["synchronizations"] == 1
    assert counts["bytes_moved"] == 256 + 3 * 256 + (256 + 4) + 4


def test_backward_and_data_dependent_shapes_are_counted() -> None:
    import torch

    def run(lap: Callable[[], None]) -> None:
        x = torch.ones(3, requires_grad=True)
        lap()
        (x * x).sum().backward()
        torch.nonzero(x.detach())
        lap()

    counts = operations_of(run)
    assert counts["synchronizations"] == 1 and counts["by_operation"]["aten.mul.Tensor"] > 1


def test_graphs_and_their_breaks_are_those_of_the_code() -> None:
    import torch

    def broken(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        torch._dynamo.graph_break()
        return y * 2

    def whole(x: torch.Tensor) -> torch.Tensor:
        return (x + 1) * 2

    def run_of(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Callable[[], None]], None]:
        return lambda lap: torch.compile(function)(torch.ones(2))

    assert graphs_of(run_of(whole)) == {"graphs": 1, "graph_breaks": 0}
    assert graphs_of(run_of(broken)) == {"graphs": 2, "graph_breaks": 1}
    with pytest.raises(RuntimeError):
        graphs_of(lambda lap: None)


def test_laps_are_taken_between_calls_for_as_long_as_asked() -> None:
    def run(lap: Callable[[], None]) -> None:
        lap()
        sum(range(1000))
        lap()

    assert len(laps_of(run, 0.0, "cpu")) == 1
    laps = laps_of(run, 0.02, "cpu")
    assert len(laps) > 1 and min(laps) > 0


def test_differences_name_the_operations_that_came() -> None:
    before = {
        "w": WorkloadCounts({"operations": 5, "bytes_moved": 10}, {"aten.mm": 5}),
        "gone": WorkloadCounts({"operations": 1}),
    }
    after = {"w": WorkloadCounts({"operations": 7, "bytes_moved": 10}, {"aten.mm": 6, "aten.neg": 1})}
    changed = exact.differences(before, after)
    assert [difference.text for difference in changed] == ["w: ATen operations 5 -> 7 (aten.mm +1, aten.neg +1)"]
    assert exact.differences(before, before) == []


def test_a_change_is_expected_only_if_its_own_file_has_exactly_its_counts() -> None:
    def counted(operations: int, by_operation: dict[str, int] | None = None) -> dict[str, WorkloadCounts]:
        return {"w": WorkloadCounts({"operations": operations}, by_operation or {})}

    before, after = counted(5), counted(6, {"a": 6})
    changed = exact.differences(before, after)
    old, new, wrong = counted(5), counted(6), counted(7)
    assert [difference.expected for difference in exact.mark_expected(changed, after, old, new)] == [True]
    for base_file, head_file in ((old, old), (old, wrong), (new, new), ({}, {})):
        assert [difference.expected for difference in exact.mark_expected(changed, after, base_file, head_file)] == [
            False
        ]


def test_a_file_keeps_the_counts_of_other_software(tmp_path: Path) -> None:
    file = tmp_path / "counts.json"
    file.write_text(json.dumps({"counts": {"torch 1.0, timm 0.1, cpu": {"w": {"operations": 1}}}}))
    exact.write(file, "cpu", {"w": WorkloadCounts({"operations": 2}, {"a": 2})})
    assert (
        exact.committed(file, "cpu") == {"w": WorkloadCounts({"operations": 2})}
        and exact.committed(file, "cuda:0") == {}
    )
    assert "torch 1.0, timm 0.1, cpu" in json.loads(file.read_text())["counts"]
    file.write_text("[]")
    with pytest.raises(UserError):
        exact.committed(file, "cpu")


def test_one_added_operation_fails_until_the_file_has_it(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, head = (project(name, suite=lambda text: COUNTED) for name in ("base", "head"))
    monkeypatch.chdir(base)
    assert main(["timing", "gate", "--counts-only"]) == 3 and "no committed counts for" in capsys.readouterr().out
    assert main(["timing", "gate", "--write-counts"]) == 0
    (head / "benchmarks" / "counts.json").write_text((base / "benchmarks" / "counts.json").read_text())
    (head / "tiny_package" / "extra.txt").write_text("")
    monkeypatch.chdir(head)
    gate = ["timing", "gate", "--counts-only", "--json"]
    capsys.readouterr()
    assert main([*gate, "--base", str(base)]) == 3
    changed = json.loads(capsys.readouterr().out)["counts"]
    operations = next(row for row in changed if row["count"] == "operations")
    assert operations["after"] - operations["before"] == 2 and "aten.neg.default +2" in operations["detail"]
    assert main(gate) == 3, "against the committed file"
    assert main(["timing", "gate", "--write-counts"]) == 0
    assert main(gate) == 0 and main([*gate, "--base", str(base)]) == 0
