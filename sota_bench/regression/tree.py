"""Revisions as folders: taken from git or copied, and compiled to bytecode, so that no process compiles while it is
timed."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from sota_bench.errors import UserError
from sota_bench.processes import output_of

LEFT_OUT = (".git", ".tox", ".venv*", ".hg", "*.egg-info", "__pycache__", ".*_cache", ".sota_bench", "node_modules",
            "reports", "build", "dist", ".hypothesis", ".benchmarks", ".fuzz*")  # fmt: skip
"""What is not copied with a folder."""


@dataclass(frozen=True)
class Tree:
    """One revision as a folder.

    Attributes:
        folder: its files.
        name: as the user named it.
        commit: the commit's digest, "" for a folder.
    """

    folder: Path
    name: str
    commit: str = ""

    @property
    def title(self) -> str:
        """The name, with the commit where that adds something."""
        if not self.commit or self.commit.startswith(self.name):
            return self.name
        return f"{self.name} ({self.commit[:10]})"


def export(repository: Path, revision: str, into: Path) -> Tree:
    """Puts a revision into a folder and compiles its bytecode, and returns it as a tree.

    Args:
        repository: where ``git`` looks.
        revision: a commit, branch or tag; or a folder, whose files are copied as they are.
        into: the folder to be made.

    Raises:
        UserError: there is no such revision, or its files cannot be written.
    """
    folder = Path(revision)
    try:
        if folder.is_dir():
            shutil.copytree(folder, into, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
            tree = Tree(into, "working tree" if folder.resolve() == Path.cwd().resolve() else folder.name)
        else:
            tree = Tree(into, revision, commit_of(repository, revision))
            _archive(repository, tree.commit, into)
    except OSError as error:
        raise UserError(str(into), "", f"cannot be written: {error}", "free some space, or set TMPDIR") from error
    _compile(into)
    return tree


def commit_of(repository: Path, revision: str) -> str:
    """The digest of a commit.

    Raises:
        UserError: git does not know it.
    """
    commit = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise UserError(
            "timing gate", "", f"git knows no revision {revision!r} here",
            "name a commit, a branch or a folder; a shallow clone has only its own commits (git fetch --unshallow)",
        )  # fmt: skip
    return commit


def describe(repository: Path) -> tuple[str, bool]:
    """The commit that is checked out, and whether files differ from it; "" and False outside of a git repository."""
    commit = _git(repository, "rev-parse", "HEAD") or ""
    return commit, bool(commit and _git(repository, "status", "--porcelain", "--untracked-files=no"))


def _git(repository: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails or there is no git."""
    printed = output_of(["git", "-C", str(repository), *arguments], timeout_s=60)
    return None if printed is None else printed.strip()


def _archive(repository: Path, commit: str, into: Path) -> None:
    into.mkdir(parents=True)
    file = into.with_name(f"{into.name}.tar")
    if _git(repository, "archive", "--format=tar", "--output", str(file.absolute()), commit) is None:
        raise UserError("timing gate", "", f"git cannot write out {commit[:10]}", "run git fsck")
    with tarfile.open(file) as archive:
        archive.extractall(into, filter="data")
    file.unlink()


def _compile(folder: Path) -> None:
    """Compiles every file that can be compiled; one that cannot raises when it is imported."""
    command = [sys.executable, "-m", "compileall", "-q", "-j", str(os.cpu_count() or 1), "-x", "/(tests|fuzz)/"]
    output_of([*command, "--invalidation-mode", "unchecked-hash", str(folder)], timeout_s=600)
