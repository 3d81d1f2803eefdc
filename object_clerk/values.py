"""Checks of single settings. An error names the setting and its shape, never its value."""

from __future__ import annotations

import difflib
import json
import math
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from object_clerk.exceptions import ObjectClerkConfigurationException

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def bad(origin: str, shape: str) -> ObjectClerkConfigurationException:
    """An error that says which setting is wrong and what it should be, but not what it is."""
    return ObjectClerkConfigurationException(f"{origin} must be {shape}")


def at_least(least: float, value: object, origin: str) -> float:
    """A finite number that is not smaller than ``least``."""
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:
        number = math.nan
    if isinstance(value, bool) or not least <= number < math.inf:
        raise bad(origin, f"a number, at least {least}")
    return number


def whole_number(value: object, origin: str) -> int:
    """A positive whole number, given as such or as text."""
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            value = 0
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise bad(origin, "a whole number, more than 0")
    return value


def attempts(value: object, origin: str) -> int:
    """A number of attempts; -1 stands for no limit."""
    if isinstance(value, bool) or not isinstance(value, int) or value < -1:
        raise bad(origin, "a whole number: attempts in all, or -1 for no limit")
    return value


def true_or_false(text: str, origin: str) -> bool:
    """A switch, in one of the ways in which people write them."""
    if text.lower() not in _TRUE + _FALSE:
        raise bad(origin, "true or false")
    return text.lower() in _TRUE


def jitter(value: object, origin: str) -> tuple[float, float]:
    """A pair (least, most), or one number meaning (0, most)."""
    pair = value if isinstance(value, (list, tuple)) else (0, value)
    shape = "a number of seconds, or a pair (least, most)"
    if len(pair) != 2:
        raise bad(origin, shape)
    low, high = (at_least(0, number, origin) for number in pair)
    if low > high:
        raise bad(origin, shape)
    return low, high


def check_names(given: Mapping[str, Any], known: Collection[str], origin: str) -> None:
    """Refuse names that are not known, and say which known one may have been meant."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), list(known), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise ObjectClerkConfigurationException(f"{origin} has an unknown key {name!r}: {hint}")


def parse_json(text: str, origin: str) -> dict[str, Any]:
    """The JSON object in ``text``; an error tells the position, never the text."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise bad(origin, "a JSON object that names each key once")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ObjectClerkConfigurationException(
            f"{origin} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; "
            'a JSON object such as {"name": 1} is expected'
        ) from None
    except ObjectClerkConfigurationException:
        raise
    except (ValueError, RecursionError):  # a number of thousands of digits, or endless nesting
        raise bad(origin, 'a JSON object such as {"name": 1}') from None
    if not isinstance(value, dict):
        raise bad(origin, 'a JSON object such as {"name": 1}')
    return value


def check_url(url: str, origin: str) -> str:
    """The URL if it is ``http(s)://host[:port]`` without credentials."""
    shape = "a URL such as https://s3.example.org:9000, without credentials or a query"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise bad(origin, shape) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise bad(origin, shape)
    if parts.query or parts.fragment or port == 0 or any(c.isspace() for c in url):
        raise bad(origin, shape)
    return url.rstrip("/")


def join_url(host: str, port: object, use_ssl: bool, origin: str) -> str:
    """The URL of a host and port; an IPv6 address is put into brackets."""
    if "/" in host or "@" in host or not host.strip():
        raise bad(origin, "a host name or address alone; a URL goes into endpoint_url")
    if port is not None:
        try:
            number = int(str(port))
        except ValueError:
            number = 0
        if not 0 < number < 1 << 16:
            raise bad("port", "a number from 1 to 65535")
        port = number
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"  # an IPv6 address
    url = f"{'https' if use_ssl else 'http'}://{host}"
    return check_url(url if port is None else f"{url}:{port}", origin)
