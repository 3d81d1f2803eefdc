"""Values as a reader wants to see them."""

from __future__ import annotations

_STEP = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def human_size(size: float) -> str:
    """``size`` bytes with a unit that keeps the number short: ``17 B``, ``1.5 KiB``."""
    if size < _STEP:
        return f"{size:.0f} B"
    for unit in _UNITS:
        size /= _STEP
        if size < _STEP - 0.05 or unit == _UNITS[-1]:
            break
    return f"{size:.1f} {unit}"


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def printable(text: str) -> str:
    """``text`` without characters that would move the cursor or break the line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """``text`` in one line, whatever its author thought."""
    return printable(" ".join(text.split()))
