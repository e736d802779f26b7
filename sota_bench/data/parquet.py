"""Images in Parquet files, as Hugging Face data sets store them: one row per image, with its bytes and its label."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sota_bench.data.formats import HEAD_BYTES
from sota_bench.data.tables import LabelTable
from sota_bench.errors import UserError

if TYPE_CHECKING:
    import pyarrow

Location = tuple[str, int, int]
"""Where an image lies: file below the source, row group, row in it."""


def list_parquet(
    root: Path, files: Sequence[tuple[str, int, int]]
) -> tuple[list[tuple[str, int, int]], list[LabelTable], dict[str, Location]]:
    """The rows of Parquet files as files of a source.

    Args:
        root: folder of the source.
        files: (path, bytes, modification time in ns) of the Parquet files.

    Returns:
        (path, 0, modification time in ns) per image, as its length is not known yet; one table of all other columns;
        and where each image lies. A path is the file's without its ending, and the row's number in it.

    Raises:
        UserError: pyarrow is not installed, a file is damaged, or none holds images.
    """
    try:
        import pandas as pd
        import pyarrow.parquet as pq
    except ImportError:
        problem = "holds Parquet files, and pyarrow is not installed"
        raise UserError(str(root), "", problem, 'python -m pip install "sota-bench[parquet]"') from None
    entries, locations, frames = [], dict[str, Location](), []
    for path, _, mtime in sorted(files):
        try:
            with pq.ParquetFile(root / path) as file:
                schema = file.schema_arrow
                column = image_column(schema)
                if column is None:
                    continue
                others = [field.name for field in schema if field.name != column and not _is_nested(field.type)]
                frame = _text_frame(file.read(others), schema)
                rows_of_group = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        except (OSError, ValueError, RuntimeError) as error:  # pyarrow's own errors are of these types
            problem = f"is not a readable Parquet file: {' '.join(str(error).split())[:200]}"
            raise UserError(str(root / path), "", problem, "replace it, or move it out of the folder") from None
        stem = path[: -len(".parquet")]
        names = [f"{stem}/{row:07d}" for row in range(sum(rows_of_group))]
        positions = [(group, row) for group, count in enumerate(rows_of_group) for row in range(count)]
        locations |= {name: (path, *position) for name, position in zip(names, positions, strict=True)}
        entries += [(name, 0, mtime) for name in names]
        frames.append(frame.assign(**{_FILE: names}))
    if not frames:
        raise UserError(str(root), "", "its Parquet files have no column of images", "use files with an image column")
    table = pd.concat(frames, ignore_index=True).fillna("")
    files_of_rows = table.pop(_FILE).tolist()
    return entries, [LabelTable("the Parquet files", table, files_of_rows, files_of_rows)], locations


_FILE = "\0file"


def image_column(schema: pyarrow.Schema) -> str | None:
    """The column that holds images: the one that is declared so, or else the first one of bytes."""
    declared = [name for name, feature in _features(schema).items() if feature.get("_type") == "Image"]
    held = [field.name for field in schema if _holds_bytes(field.type)]
    return next((name for name in [*declared, *held] if name in held), None)


def _holds_bytes(kind: pyarrow.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_nested(kind: pyarrow.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_nested(kind) or _holds_bytes(kind))


def _features(schema: pyarrow.Schema) -> dict[str, dict[str, Any]]:
    """What the Hugging Face library wrote about each column."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {str(name): feature for name, feature in features.items() if isinstance(feature, dict)}
    except (TypeError, KeyError, ValueError, AttributeError):
        return {}


def _text_frame(table: pyarrow.Table, schema: pyarrow.Schema) -> Any:
    """Columns as text, class numbers by their names."""
    import pandas as pd

    features, columns = _features(schema), dict[str, list[str]]()
    for name in table.column_names:
        values = table.column(name).to_pylist()
        class_names = features.get(name, {}).get("names")
        if isinstance(class_names, list):
            values = [_named(value, class_names) for value in values]
        columns[name] = ["" if value is None else str(value) for value in values]
    return pd.DataFrame(columns, dtype=object)


def _named(value: Any, names: Sequence[Any]) -> Any:
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return None if value == -1 else value  # -1: no label


class ParquetReader:
    """Reads images by row; keeps the row group that was read last, since rows are read in order."""

    def __init__(self, root: str, locations: Mapping[str, Location]) -> None:
        self.root, self.locations = root, locations

    def __call__(self, path: str) -> bytes:
        file, group, row = self.locations[path]
        data = _row_group(str(Path(self.root, file)), group)[row]
        if not data:
            raise ValueError("the row holds no bytes")
        return data

    def head(self, path: str) -> bytes:
        """The first bytes of an image."""
        try:
            return self(path)[:HEAD_BYTES]
        except (OSError, ValueError):
            return b""


@lru_cache(maxsize=2)
def _row_group(file: str, group: int) -> list[bytes | None]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        column = image_column(opened.schema_arrow)
        values = opened.read_row_group(group, columns=[column]).column(0).to_pylist()
    return [value.get("bytes") if isinstance(value, dict) else value for value in values]
