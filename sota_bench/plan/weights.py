"""Pretrained weights before anything runs: found, whole and of the right architecture; and what identifies them in a
key: their content, wherever they lie. Read without torch."""

from __future__ import annotations

import hashlib
import json
import zipfile
from functools import lru_cache
from pathlib import Path

from sota_bench.errors import UserError
from sota_bench.grid.pretrained import HUB, located

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_REMEDY = "give a .safetensors or weights-only .pth file of this backbone, or timm's folder with config.json"
_LARGEST_HEADER = 100 * 2**20
_PICKLE = b"\x80"


def weights_digest(weights: str, backbone: str, grid_file: Path) -> str:
    """``timm:<name>`` for the hub's (timm's version is in the key as well), else SHA-256 over the file or folder.

    Raises:
        UserError: there is no such file or folder, it is damaged, or its config names another architecture.
    """
    if weights == HUB:
        return f"timm:{backbone}"
    path = located(weights, grid_file)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.is_file() and file.suffix in (*SUFFIXES, ".json")]
    problem = None
    if path.is_dir() and (declared := _declared(path)) is None:
        problem = "has no config.json that names its architecture"
    elif path.is_dir() and declared != (architecture := backbone.split(".", 1)[0]):
        raise UserError(
            str(grid_file),
            "recipe.backbone",
            f"{architecture} is not what recipe.weights holds: {weights!r} is for {declared:.60}",
            f'write backbone = "{declared:.60}", or name weights of {architecture}',
        )
    if not path.exists():
        problem = "there is no such file or folder"
    elif not problem and not any(file.suffix in SUFFIXES for file in files):
        problem = "holds no weights"
    for file in files:
        problem = problem or _damage(file, file.stat().st_mtime_ns)
    if problem:
        raise UserError(str(grid_file), "recipe.weights", f"{weights!r} {problem}", _REMEDY)
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}\0".encode() + _digest(file, file.stat().st_mtime_ns))
    return total.hexdigest()


def _declared(folder: Path) -> str | None:
    """The architecture that a folder's ``config.json`` names, or None."""
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["architecture"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@lru_cache(maxsize=64)
def _digest(file: Path, mtime_ns: int) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


@lru_cache(maxsize=64)
def _damage(file: Path, mtime_ns: int) -> str | None:
    """What is wrong with a file by its own account of itself, or None."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        if file.suffix == ".safetensors":
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                return f"is damaged: {file.name} is not a safetensors file"
            try:
                header = json.loads(opened.read(length))
                ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
                promised = 8 + length + max(ends)
            except (ValueError, KeyError, TypeError, AttributeError):
                return f"is damaged: the header of {file.name} cannot be read"
            if size != promised:
                return f"is damaged: {file.name} has {size:,} bytes, and its header promises {promised:,}"
        elif file.suffix in SUFFIXES and not zipfile.is_zipfile(file) and opened.read(1) != _PICKLE:
            return f"is damaged: {file.name} is not a complete file of torch.save"
    return None
