"""Names that become folders: a grid's name must stay inside the output folder on every system."""

from __future__ import annotations

MAX_LENGTH = 64
_RESERVED = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"
}
_REMEDY = "write a short name of letters, digits, - and _"


def safe_name(name: str) -> str:
    """``name`` itself, when a folder of that name can be made anywhere and lies directly in its parent.

    Raises:
        ValueError: it is empty or too long, leaves the folder, or some system refuses it.
    """
    shown = repr(name if len(name) <= MAX_LENGTH else name[:24] + "...")
    if not name.strip():
        raise ValueError(f"the name is empty; {_REMEDY}")
    if len(name) > MAX_LENGTH or len(name.encode("utf-8", "surrogatepass")) > 200:
        raise ValueError(f"{shown} is longer than {MAX_LENGTH} letters; {_REMEDY}")
    if "/" in name or "\\" in name or set(name) == {"."} or name.startswith("~"):
        raise ValueError(f"{shown} would leave the output folder; {_REMEDY}")
    if not name.isprintable() or any(letter in '<>:"|?*' for letter in name):
        raise ValueError(f"{shown} has letters that a folder cannot have everywhere; {_REMEDY}")
    if name[0] in " .-" or name[-1] in " .":
        raise ValueError(f"{shown} starts or ends with a blank, a dot or a dash; {_REMEDY}")
    if name.split(".")[0].rstrip().upper() in _RESERVED:
        raise ValueError(f"{shown} is a device on some systems; {_REMEDY}")
    return name
