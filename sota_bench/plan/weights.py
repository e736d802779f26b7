"""What identifies pretrained weights in a stage key: their content, wherever they lie."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sota_bench.errors import UserError


def located(written: str, grid_file: Path) -> Path:
    """An absolute path as a grid means it: relative to the grid, or failing that to the working folder."""
    path = Path(written).expanduser()
    beside = grid_file.parent / path
    return (beside if beside.exists() else path).absolute()


def weights_digest(weights: str, backbone: str, place: str) -> str:
    """``timm:<name>`` for the hub's (timm's version is in the key as well), else SHA-256 over the file or folder.

    Raises:
        UserError: there is no such file or folder.
    """
    if weights == "timm":
        return f"timm:{backbone}"
    path = Path(weights).expanduser()
    if not path.exists():
        raise UserError(place, "recipe.weights", f"there is no {weights!r}", 'name a local file or folder, or "timm"')
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and file.suffix in (".safetensors", ".pth", ".pt", ".bin", ".json"):
            with file.open("rb") as opened:
                total.update(f"{file.name}\0".encode() + hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()
