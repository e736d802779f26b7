"""Which files are leftovers of systems and tools: never images and never a class, in folders and archives alike."""

from __future__ import annotations

JUNK_FOLDERS = frozenset({
    "__macosx", "@eadir", "@recycle", "#recycle", "#snapshot", "@recently-snapshot", "$recycle.bin", "recycler",
    "recycled", "system volume information", "lost+found", "__pycache__",
})  # fmt: skip
"""Lower case; hidden folders, such as ``.ipynb_checkpoints`` and ``.git``, are junk by their first character."""

JUNK_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "zbthumbnail.info"})
"""Lower case."""

MOST_FOLDERS = 100
TOO_DEEP = f"more than {MOST_FOLDERS} folders deep"
"""No data set is that deep; folders without end come from damage, or from tools that went round in circles."""

SIDECAR = ".left-out.json"
"""What unpacking an archive leaves beside its files: hidden, so never listed."""


def is_junk(path: str) -> bool:
    """Whether a file, given by its path with ``/``, or a folder around it, is hidden or a system's leftover."""
    *folders, name = path.split("/")
    return is_junk_name(name, folder=False) or any(is_junk_name(folder, folder=True) for folder in folders)


def is_junk_name(name: str, folder: bool) -> bool:
    """Whether the name of one file or folder is that of a leftover; AppleDouble files start with ``._``."""
    lower = name.lower()
    return name.startswith((".", "~$")) or lower in (JUNK_FOLDERS if folder else JUNK_FILES)
