"""``--only`` selects exactly the trials that it says."""

from __future__ import annotations

import pytest

from sota_bench.errors import UserError
from sota_bench.grid import parse_only

GRID = (
    '[grid]\nseeds = [0, 1]\n[factors]\nresize = ["64x2", "32x1 64x1"]\ncompile = ["off", "on"]\ndropout = [0.0, 0.2]\n'
)


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("seed=0", 8),
        ("seed=0|1", 16),
        ("seed!=0", 8),
        ("dropout=0.2,seed=1", 4),
        ("dropout=0", 8),
        ("dropout=.2,compile!=on", 4),
        ("resize=32x1,64x1", 8),
        ("resize=32x1 64x1, compile=true", 4),
        ("compile=off|on", 16),
    ],
)
def test_selects(read, expression: str, count: int) -> None:
    assert len(read(GRID).only(expression)) == count


def test_terms_are_a_conjunction_of_alternatives() -> None:
    selected = parse_only("a=x|y,b!=1", {"a": ["x", "y", "z"], "b": ["1", "2"]})
    assert [selected({"a": a, "b": b}) for a in "xyz" for b in "12"] == [False, True, False, True, False, False]


@pytest.mark.parametrize(
    ("expression", "line"),
    [
        ("sede=0", "--only: sede: the grid has no such factor; did you mean seed?"),
        ("q=1", "--only: q: the grid has no such factor; the factors are resize, compile, dropout, seed"),
        ("seed=9", "--only: seed: there is no level '9'; the levels are 0, 1"),
        ("dropout=a", "--only: dropout: there is no level 'a'; the levels are 0.0, 0.2"),
        ("seed", "--only: 'seed' is not factor=level; write for example seed=0|1"),
        ("", "--only: '' is not factor=level; write for example seed=0|1"),
        ("seed=", "--only: 'seed=' is not factor=level; write for example seed=0|1"),
        ("seed=0,", "--only: '' is not factor=level; write for example seed=0|1"),
        ("seed!=0|1", "--only: 'seed!=0|1' selects no trial; select more levels or seeds"),
    ],
)
def test_mistakes_are_one_line(read, expression: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        read(GRID).only(expression)
    assert str(caught.value) == line
