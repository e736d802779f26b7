"""Which command and which code made a run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from sota_bench.processes import output_of


def command_line() -> str:
    """This command, as it can be given again; what is not UTF-8, and no ledger can hold, is escaped."""
    return shlex.join(["python", "-m", "sota_bench", *sys.argv[1:]]).encode(errors="backslashreplace").decode()


def git_commit() -> str:
    """The commit of the checkout that this code runs from, with ``+`` where it is changed; "" outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    git = ["git", "-C", str(root)]
    commit = output_of([*git, "rev-parse", "HEAD"], timeout_s=10) or ""
    changed = output_of([*git, "status", "--porcelain", "-uno"], timeout_s=10) or ""
    return commit.strip()[:12] + ("+" if commit and changed.strip() else "")
