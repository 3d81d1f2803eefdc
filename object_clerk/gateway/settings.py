"""The settings of the gateway: arguments, environment, ``.env``, defaults, in this order.

A variable has the name of its field in capitals. An empty one counts as not set, and ``.env`` is
the one of the working directory.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from object_clerk.config import Setting, read_dotenv
from object_clerk.values import bad, check_names, check_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GIB = 1 << 30

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("json", "text")
AUDIENCES = ("off", "local", "public")

#: What stands for no limit; an empty variable would be the default.
OFF = "off"

#: More than this is a slip of the finger: each worker is a process.
MOST_WORKERS = 256

_DAY_S = 86400


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """All that the gateway can be told.

    Attributes:
        auth_tokens_file: where the tokens are; it need not be there.
        url_keys_file: where the keys are that presigned URLs are signed with; a relative one is
            meant from the directory of the tokens.
        storage_config: the YAML file of the stores; None for a store in memory.
        storage_name: the store of that file, if it is not its ``main``.
        rate_limit: how many requests each token may make, in the notation of ``limits``; None for
            any number.
        anonymous_rate_limit: the same for each address, for requests without a valid token.
        rate_limit_store: the URL of the Redis that counts for all processes; None to let each
            process count for itself.
        max_object_bytes: the largest object that may be put.
        max_requests: how many requests a process works on at once.
        idle_timeout_s: how long nothing of a body may come or be taken.
        header_timeout_s: how long the head of a request may take.
        public_url: what presigned URLs begin with; None for what the client has called.
        host: the address to listen at.
        port: the port to listen at; 0 for a free one.
        workers: how many processes serve.
        log_level: what is logged: one of LOG_LEVELS.
        log_format: one of LOG_FORMATS.
        metrics: who may read the figures at /metrics: one of AUDIENCES.
        forwarded_allow_ips: proxies whose word counts for a client's address and scheme; None for
            nobody's.
        origins: where each setting came from that is not the default.
    """

    auth_tokens_file: Path = Path("tokens.json")
    url_keys_file: Path = Path("url_keys.json")
    storage_config: Path | None = None
    storage_name: str | None = None
    rate_limit: str | None = "1000/second"
    anonymous_rate_limit: str | None = "20/second"
    rate_limit_store: str | None = dataclasses.field(default=None, repr=False)
    max_object_bytes: int = 5 * GIB
    max_requests: int = 256
    idle_timeout_s: float = 60
    header_timeout_s: float = 20
    public_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    log_level: str = "info"
    log_format: Literal["json", "text"] = "json"
    metrics: Literal["off", "local", "public"] = "local"
    forwarded_allow_ips: str | None = None
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        beside = self.auth_tokens_file.absolute().parent / self.url_keys_file
        object.__setattr__(self, "url_keys_file", beside)

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        dotenv: str | os.PathLike[str] | bool = True,
        **arguments: Any,
    ) -> GatewaySettings:
        """Compute the settings in force.

        Args:
            environ: the environment, ``os.environ`` if None.
            dotenv: path of a ``.env`` file; True for ``.env`` in the working directory if there
                is one, False for none.
            **arguments: fields that beat all variables; None means "not given".

        Raises:
            ObjectClerkConfigurationException: a value is impossible. The message names the
                variable and what it may be, never what it is.
        """
        check_names(arguments, _READERS, "GatewaySettings")
        real = os.environ if environ is None else environ
        file = read_dotenv(dotenv)
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for field, read in _READERS.items():
            variable = field.upper()
            candidates = (
                (arguments.get(field), f"argument {field}"),
                (real.get(variable), f"variable {variable}"),
                (file.get(variable), f".env {variable}"),
            )
            for given, origin in candidates:
                if given is not None and (text := str(given).strip()):
                    values[field], origins[field] = read(text, origin), origin
                    break
        return cls(**values, origins=origins)

    def explain(self) -> list[Setting]:
        """Every setting with its value and where it came from; no password is shown."""
        return [
            Setting(field, _shown(field, getattr(self, field)), self.origins.get(field, "default"))
            for field in _READERS
        ]


def _shown(field: str, value: object) -> str:
    if value is None:
        return OFF if field.endswith("rate_limit") else "not set"
    return _without_password(str(value)) if field == "rate_limit_store" else str(value)


def _without_password(url: str) -> str:
    """A URL of Redis, which may have its password before the host or in the query."""
    scheme, _, rest = url.partition("://")
    if "?" in rest:
        return f"{scheme}://********"
    _, at, place = rest.rpartition("@")
    return f"{scheme}://{'********@' if at else ''}{place}"


# -- how the text of a variable is read ----------------------------------------------------


def _text(text: str, origin: str) -> str:
    if not text.isprintable():
        raise bad(origin, "one line of text")
    return text


def _path(text: str, origin: str) -> Path:
    try:
        return Path(_text(text, origin)).expanduser()
    except RuntimeError:  # no such user
        raise bad(origin, "a path; ~ stands for a home directory that is there") from None


def _host(text: str, origin: str) -> str:
    if re.search(r"[\s/@?#\[\]]", text):
        raise bad(origin, "a host name or address alone, such as 127.0.0.1, 0.0.0.0 or ::1")
    return text


def _whole(least: int, most: int | None = None) -> Callable[[str, str], int]:
    def read(text: str, origin: str) -> int:
        if re.fullmatch("[0-9]{1,18}", text):
            number = int(text)
            if least <= number and (most is None or number <= most):
                return number
        raise bad(origin, f"a whole number, {least} or more" + (f", up to {most}" if most else ""))

    return read


def _seconds(text: str, origin: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= _DAY_S:
        raise bad(origin, f"a number of seconds, more than 0 and up to {_DAY_S}")
    return number


def _one_of(*names: str) -> Callable[[str, str], str]:
    def read(text: str, origin: str) -> str:
        if text.lower() not in names:
            raise bad(origin, f"one of {', '.join(names)}")
        return text.lower()

    return read


def _rate(text: str, origin: str) -> str | None:
    from limits import parse_many  # it takes a moment, and most settings do without

    if text.lower() == OFF:
        return None
    try:
        if all(each.amount > 0 and each.multiples > 0 for each in parse_many(text)):
            return text
    except ValueError:
        pass
    raise bad(origin, f"a limit such as 1000/second or 10/second;200/minute, or {OFF}")


def _redis(text: str, origin: str) -> str:
    try:
        parts = urlsplit(text)
        if parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0:
            return _text(text, origin)
    except ValueError:  # the port is none
        pass
    raise bad(origin, "a URL such as redis://localhost:6379/0, or rediss:// with TLS")


_READERS: Mapping[str, Callable[[str, str], Any]] = {
    "host": _host,
    "port": _whole(0, 65535),
    "workers": _whole(1, MOST_WORKERS),
    "log_level": _one_of(*LOG_LEVELS),
    "log_format": _one_of(*LOG_FORMATS),
    "auth_tokens_file": _path,
    "url_keys_file": _path,
    "storage_config": _path,
    "storage_name": _text,
    "rate_limit": _rate,
    "anonymous_rate_limit": _rate,
    "rate_limit_store": _redis,
    "max_object_bytes": _whole(1),
    "max_requests": _whole(1),
    "idle_timeout_s": _seconds,
    "header_timeout_s": _seconds,
    "public_url": check_url,
    "metrics": _one_of(*AUDIENCES),
    "forwarded_allow_ips": _text,
}
