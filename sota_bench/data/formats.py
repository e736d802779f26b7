"""Formats of files by their names and their first bytes."""

from __future__ import annotations

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif",
    ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k",
})  # fmt: skip
"""A file with such a name is an image, or a damaged one; any other file is looked into."""

OTHER_SUFFIXES = frozenset({
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".md", ".xml", ".html", ".htm", ".yaml", ".yml", ".py",
    ".ipynb", ".cls", ".pdf", ".npy", ".npz", ".mat", ".pkl", ".pt", ".pth", ".h5", ".mp4", ".avi", ".mov", ".log",
    ".toml", ".ini", ".tar", ".gz", ".tgz", ".zip", ".zst", ".parquet", ".svg", ".docx", ".xlsx", ".rst",
})  # fmt: skip

HEAD_BYTES = 32
"""Of a file, enough to know its format."""


def suffix_of(path: str) -> str:
    """The ending of a file's name, in lower case, with its dot."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def image_format(head: bytes) -> str:
    """The format of an image by its first bytes, or "" for what is none."""
    starts = {
        b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"II*\0": "TIFF",
        b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"\0\0\0\x0cjP  ": "JPEG 2000",
        b"\xff\x4f\xff\x51": "JPEG 2000",
    }  # fmt: skip
    for start, name in starts.items():
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        brands = head[8:12] + head[16:32]
        if b"avi" in brands:
            return "AVIF"
        return "HEIC" if any(brand in brands for brand in (b"heic", b"heix", b"hevc", b"mif1", b"heim")) else ""
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "BMP"
    return "PNM" if head[:1] == b"P" and head[1:2] in b"123456fF" and head[2:3] in b"\n\r\t " and len(head) > 2 else ""
