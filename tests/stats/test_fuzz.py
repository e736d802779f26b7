"""Any small table gives either valid JSON or a UserError, never anything else."""

import json

import pandas as pd
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sota_bench.errors import UserError
from sota_bench.stats import VERDICTS, analyze
from sota_bench.stats.verdicts import INTERACTION_VERDICTS

LEVELS = st.sampled_from(["0", "0.2", "1", "none", "ewc", True, False, 0, 0.5, None, "", "x against y", "<b>"])
VALUES = st.one_of(
    st.floats(-1e6, 1e6), st.sampled_from([0.0, 50.0, 50.1, 1e-12]), st.just(float("nan")), st.just("no number")
)
STATUS = st.sampled_from(["done"] * 8 + ["failed", "not_applicable"])
ROWS = st.lists(
    st.fixed_dictionaries(
        {"a": LEVELS, "b": LEVELS, "tta": st.booleans(), "seed": st.integers(0, 3), "y": VALUES, "status": STATUS}
    ),
    max_size=24,
)
SMALL = st.lists(
    st.fixed_dictionaries({
        "a": st.integers(0, 2), "b": st.booleans(), "tta": st.booleans(), "seed": st.integers(0, 2),
        "y": st.sampled_from([50.0, 51.0, 52.5]), "status": st.just("done"),
    }),
    min_size=4, max_size=36,
)  # fmt: skip


@example(  # a pair of views of which no seed has both
    rows=[
        {"a": a, "b": b, "tta": tta, "seed": seed, "y": 50.0, "status": "done"}
        for a, b, tta, seed in [(0, False, False, 0), (0, False, False, 0), (0, False, False, 0), (0, False, True, 0),
                                (0, True, False, 0), (1, False, False, 1), (1, False, True, 0)]
    ],
    block="seed", within=("tta",), delta=None, missing=False,
)  # fmt: skip
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    rows=st.one_of(ROWS, SMALL),
    block=st.sampled_from(["seed", None]),
    within=st.sampled_from([(), ("tta",)]),
    delta=st.sampled_from([None, 0.5]),
    missing=st.booleans(),
)
def test_any_table_gives_json_or_a_user_error(
    rows: list[dict[str, object]], block: str | None, within: tuple[str, ...], delta: float | None, missing: bool
) -> None:
    table = pd.DataFrame(rows, columns=["a", "b", "tta", "seed", "y", "status"])
    try:
        found = analyze(
            table, response="y", factors=["a", "b"], block=block, within=within, delta=delta, simple="all",
            allow_missing=missing,
        )  # fmt: skip
    except UserError as error:
        assert "\n" not in str(error)
        return
    read = json.loads(found.to_json(), parse_constant=lambda name: pytest_fail(name))
    for row in [*read["contrasts"], *read["interactions"]]:
        assert row["verdict"] in (INTERACTION_VERDICTS if row["kind"] == "interaction" else VERDICTS)
        assert (row["verdict"] == "not estimable") == (row["p"] is None) == (row["reason"] is not None)
        if row["p"] is not None:
            assert row["low"] <= row["estimate"] <= row["high"]
            assert 0 <= row["p"] <= row["p_holm"] <= 1
            assert row["mde"] > 0
    found.table()


def pytest_fail(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")
