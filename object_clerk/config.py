"""Where every setting comes from: arguments, environment variables, ``.env``, defaults.

:meth:`ClerkConfig.load` is the one function that decides; :meth:`ClerkConfig.explain` tells what
it decided and why. The order, the strongest first:

1. arguments of :class:`~object_clerk.ObjectClerk`,
2. the JSON variables ``S3_CLIENT_CONFIG``, ``S3_UPLOAD_CONFIG``, ``S3_DOWNLOAD_CONFIG``,
   ``CHECKSUM_RETRY_CONFIG``, ``CONNECTION_RETRY_CONFIG`` (but ``MULTIPART_THRESHOLD`` beats
   the same keys in ``S3_UPLOAD_CONFIG``),
3. single variables: ``MULTIPART_THRESHOLD``, ``RETRY_DEADLINE``, ``METADATA_RECORD``,
   ``PROBE_PREFIX``, ``FAST_LANE``, ``OBJECT_STORE_*``, then
   ``HOST``, ``PORT``, ``ACCESS_KEY`` and ``SECRET_KEY`` (only when all four are set, since
   shells set ``HOST``), then ``AWS_*``,
4. the same names in a ``.env`` file of the working directory, which never override the real
   environment,
5. botocore's own chain: profiles, instance roles.

The constants of 1.1.0 (``MULTIPART_THRESHOLD``, ``CLIENT_CONFIG``, ``UPLOAD_CONFIG``,
``DOWNLOAD_CONFIG``, ``CHECKSUM_RETRY_CONFIG``) are here too, read from the environment when they
are first asked for.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkConfigurationException
from object_clerk.retry import Patience, RetryPolicy
from object_clerk.values import (
    at_least,
    attempts,
    bad,
    check_names,
    check_url,
    jitter,
    join_url,
    parse_json,
    true_or_false,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MIB = 1 << 20

#: Bytes from which an object is uploaded in parts, and the size of the parts.
DEFAULT_MULTIPART_THRESHOLD = 500 * MIB

#: One request carries at most this much (Amazon S3 user guide, "Multipart upload limits").
LARGEST_PART = 5 << 30

#: Listings come in pages of at most this many keys (API reference of ListObjectsV2).
LARGEST_PAGE = 1000

#: Scratch objects with which a server is asked what it honours begin with this.
DEFAULT_PROBE_PREFIX = ".object-clerk-probe/"

DEFAULT_CLIENT_CONFIG: Mapping[str, Any] = {
    "connect_timeout": 60,
    "read_timeout": 60,
    "retries": {"max_attempts": 0},
}
DEFAULT_CHECKSUM_RETRY: Mapping[str, Any] = {
    "retry_delay": 1,
    "retry_backoff": 1,
    "retry_jitter": [1, 3],
    "retry_max_delay": 5,
    "retry_tries": 3,
}
DEFAULT_CONNECTION_RETRY: Mapping[str, Any] = {
    "retry_delay": 1,
    "retry_backoff": 2,
    "retry_jitter": [0, 1],
    "retry_max_delay": 20,
    "retry_tries": -1,
}

#: What boto3's TransferConfig takes. ``max_io_queue`` has no effect here: there is no queue
#: between socket and file.
TRANSFER_NAMES = (
    "multipart_threshold",
    "max_concurrency",
    "multipart_chunksize",
    "num_download_attempts",
    "max_io_queue",
    "io_chunksize",
    "use_threads",
    "max_bandwidth",
    "preferred_transfer_client",
)

#: Names that the first releases used in CHECKSUM_RETRY_CONFIG.
_OLD_RETRY_NAMES = {"tries": "retry_tries", "delay": "retry_delay"}

#: Variables for access key, secret key and session token; the three of a row belong together.
KEY_VARIABLES: tuple[tuple[str, ...], ...] = (
    ("OBJECT_STORE_ACCESS_KEY", "OBJECT_STORE_SECRET_KEY", "OBJECT_STORE_SESSION_TOKEN"),
    ("ACCESS_KEY", "SECRET_KEY", "SESSION_TOKEN"),
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
)

_SECRETS = ("secret_key", "session_token")
_USERINFO = re.compile(r"//[^/@\s]+@")

#: What botocore looks for by itself when nothing here says it.
_FROM_BOTOCORE = ("endpoint_url", "region_name", "access_key", *_SECRETS, "ca_bundle")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TransferSettings:
    """How objects are moved in one direction.

    Attributes:
        threshold_bytes: objects of at least this size are moved in parts.
        part_size_bytes: the size of the parts.
        workers: parts moved at once; 1 moves them one after the other in the calling thread.
        block_bytes: bytes read at once from a file or socket.
        bandwidth_bytes_per_s: upper limit over all parts of a call, None for none.
        attempts: attempts at one stretch of a body, None for the connection retries'.
    """

    threshold_bytes: int
    part_size_bytes: int
    workers: int = 10
    block_bytes: int = 1 << 20
    bandwidth_bytes_per_s: int | None = None
    attempts: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One line of :meth:`ClerkConfig.explain`; the value is text, with secrets masked."""

    name: str
    value: str
    origin: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClerkConfig:
    """Everything an :class:`~object_clerk.ObjectClerk` needs to know; frozen and picklable."""

    endpoint_url: str | None = None
    region_name: str | None = None
    access_key: str | None = None
    secret_key: str | None = dataclasses.field(default=None, repr=False)
    session_token: str | None = dataclasses.field(default=None, repr=False)
    ca_bundle: str | None = None
    client_config: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    upload: TransferSettings
    download: TransferSettings
    patience: Patience = dataclasses.field(default_factory=Patience)
    list_objects_page_size: int = LARGEST_PAGE
    metadata_record: bool = True
    probe_prefix: str = DEFAULT_PROBE_PREFIX
    fast_lane: bool = True
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        dotenv: str | os.PathLike[str] | bool = True,
        connection: bool = True,
        **arguments: Any,
    ) -> ClerkConfig:
        """Compute the settings in force.

        Args:
            environ: the environment, ``os.environ`` if None.
            dotenv: path of a ``.env`` file; True for ``.env`` in the working directory if there
                is one, False for none.
            connection: whether endpoint, region and keys may come from the environment. Without
                it they come from the arguments, or else from botocore's own chain.
            **arguments: explicit values, None meaning "not given": ``host``, ``port``,
                ``use_ssl``, ``endpoint_url``, ``region_name``, ``access_key``, ``secret_key``,
                ``session_token``, ``ca_bundle``, ``client_config``, ``transfer_config``,
                ``retry_delay``, ``retry_backoff``, ``retry_jitter``, ``retry_max_delay``,
                ``retry_tries``, ``retry_deadline``, ``list_objects_page_size``,
                ``metadata_record``, ``probe_prefix``, ``fast_lane``.

        Raises:
            ObjectClerkConfigurationException: a value is impossible. The message names the
                variable or argument and what it should be, and never repeats a secret.
        """
        return _Loader(environ, dotenv, arguments).load(connection)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **arguments: Any) -> ClerkConfig:
        """Compute the settings from the environment, where arguments do not say otherwise."""
        return cls.load(environ, **arguments)

    def explain(self) -> list[Setting]:
        """Every setting with its value and where it came from; secrets are masked."""
        values: dict[str, Any] = {
            "endpoint_url": self.endpoint_url,
            "region_name": self.region_name,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "session_token": self.session_token,
            "ca_bundle": self.ca_bundle,
            **{f"client_config.{k}": v for k, v in sorted(self.client_config.items())},
            **_flat("upload", self.upload),
            **_flat("download", self.download),
            **_flat("connection_retry", self.patience.connection),
            **_flat("checksum_retry", self.patience.checksum),
            "retry_deadline": self.patience.deadline_s or "300 s, plus 1 s per MiB moved",
            "list_objects_page_size": self.list_objects_page_size,
            "metadata_record": self.metadata_record,
            "probe_prefix": self.probe_prefix,
            "fast_lane": self.fast_lane,
        }
        return [
            Setting(name, _shown(name, value), self.origins.get(name) or _origin(name, value))
            for name, value in values.items()
        ]


def _shown(name: str, value: Any) -> str:
    """A value as text that holds no secret: proxies, for one, may have a password in their URL."""
    if name in _SECRETS and value:
        return "********"
    return "not set" if value is None else _USERINFO.sub("//********@", str(value))


def _origin(name: str, value: Any) -> str:
    return "botocore's chain" if value is None and name in _FROM_BOTOCORE else "default"


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    return {f"{prefix}.{f.name}": getattr(value, f.name) for f in dataclasses.fields(value)}


class _Loader:
    """One computation of a :class:`ClerkConfig`; remembers where each value came from."""

    def __init__(
        self,
        environ: Mapping[str, str] | None,
        dotenv: str | os.PathLike[str] | bool,
        arguments: Mapping[str, Any],
    ) -> None:
        self.environ = os.environ if environ is None else environ
        self.dotenv = read_dotenv(dotenv)
        self.arguments = {k: v for k, v in arguments.items() if v is not None}
        self.origins: dict[str, str] = {}

    def load(self, connection: bool) -> ClerkConfig:
        where = self._connection(from_environment=connection)
        client_config = self._json("client_config", "S3_CLIENT_CONFIG", DEFAULT_CLIENT_CONFIG)
        download = self._transfer("download", "S3_DOWNLOAD_CONFIG")
        return ClerkConfig(
            **where,
            client_config=client_config,
            upload=self._transfer("upload", "S3_UPLOAD_CONFIG"),
            download=download,
            patience=Patience(
                connection=self._retry(
                    "connection_retry", "CONNECTION_RETRY_CONFIG", DEFAULT_CONNECTION_RETRY
                ),
                checksum=self._retry(
                    "checksum_retry", "CHECKSUM_RETRY_CONFIG", DEFAULT_CHECKSUM_RETRY
                ),
                deadline_s=self._number(
                    "retry_deadline", float, "a number of seconds, more than 0", "RETRY_DEADLINE"
                ),
                body_tries=download.attempts,
            ),
            list_objects_page_size=self._page_size(),
            metadata_record=self._switch("metadata_record", "METADATA_RECORD", default=True),
            probe_prefix=self._first("probe_prefix", "PROBE_PREFIX") or DEFAULT_PROBE_PREFIX,
            fast_lane=self._switch("fast_lane", "FAST_LANE", default=True),
            origins=self.origins,
        )

    # -- single values ---------------------------------------------------------------------

    def _variable(self, name: str) -> tuple[str, str] | None:
        """Value and origin of a variable; an empty one counts as not set."""
        if value := self.environ.get(name):
            return value, f"variable {name}"
        if value := self.dotenv.get(name):
            return value, f".env {name}"
        return None

    def _strongest(self, *names: str) -> str | None:
        """The first of the variables that the environment sets, else the first in ``.env``."""
        for source in (self.environ, self.dotenv):
            for name in names:
                if source.get(name):
                    return name
        return None

    def _first(self, setting: str, *variables: str) -> str | None:
        """The argument called ``setting``, else the strongest of the variables that are set."""
        if setting in self.arguments:
            self.origins[setting] = "argument"
            return str(self.arguments[setting])
        if (name := self._strongest(*variables)) and (found := self._variable(name)):
            value, self.origins[setting] = found
            return value
        return None

    def _number(
        self, setting: str, kind: Callable[[str], float], shape: str, *variables: str
    ) -> float | None:
        text = self._first(setting, *variables)
        if text is None:
            return None
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            origin = self.origins[setting]
            raise bad(f"{origin} {setting}" if origin == "argument" else origin, shape)
        return value

    def _switch(self, setting: str, variable: str, *, default: bool) -> bool:
        text = self._first(setting, variable)
        return default if text is None else true_or_false(text, self.origins[setting])

    def _page_size(self) -> int:
        shape = f"a whole number, 1 to {LARGEST_PAGE}"
        size = self._number("list_objects_page_size", int, shape)
        if size is not None and size > LARGEST_PAGE:
            raise bad("argument list_objects_page_size", shape)
        return int(size or LARGEST_PAGE)

    # -- where to and as whom --------------------------------------------------------------

    def _connection(self, *, from_environment: bool) -> dict[str, str | None]:
        def variables(*names: str) -> tuple[str, ...]:
            return names if from_environment else ()

        four = ("HOST", "PORT", "ACCESS_KEY", "SECRET_KEY")
        bare = from_environment and all(self._variable(name) for name in four)
        found: dict[str, str | None] = {
            "endpoint_url": self._endpoint_url(from_environment, bare),
            "region_name": self._first(
                "region_name",
                *variables("OBJECT_STORE_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
            ),
            "ca_bundle": self._first(
                "ca_bundle", *variables("OBJECT_STORE_CA_BUNDLE", "AWS_CA_BUNDLE")
            ),
        }
        return found | self._keys(from_environment, bare)

    def _keys(self, from_environment: bool, bare: bool) -> dict[str, str | None]:
        """Access key, secret key and token, always from one and the same family."""
        names = ("access_key", "secret_key", "session_token")
        given = [name for name in names if name in self.arguments]
        variables: tuple[str, ...] = ()
        if not given and from_environment:
            variables = self._key_variables(bare)
        keys = {name: self._first(name, *variables[i : i + 1]) for i, name in enumerate(names)}
        if (keys["access_key"] is None) != (keys["secret_key"] is None):
            pair = " and ".join(variables[:2] or names[:2])
            raise ObjectClerkConfigurationException(
                f"{pair} belong together: give both, or neither"
            )
        for name, value in keys.items():
            # A stray line break would be found only in a header, and shown in its error.
            if value is not None and not re.fullmatch(r"[!-~]+", value):
                raise bad(f"{self.origins[name]} ({name})", "printable ASCII without blanks")
        if keys["session_token"] is not None and keys["access_key"] is None:
            raise ObjectClerkConfigurationException("session_token needs its access_key")
        return keys

    def _key_variables(self, bare: bool) -> tuple[str, ...]:
        """The family of key variables that counts: the strongest one of which any is set."""
        families = [family for family in KEY_VARIABLES if bare or family[0] != "ACCESS_KEY"]
        strongest = self._strongest(*(name for family in families for name in family[:2]))
        return next((family for family in families if strongest in family), ())

    def _endpoint_url(self, from_environment: bool, bare: bool) -> str | None:
        given = self.arguments
        if "endpoint_url" in given:
            if both := {"host", "port", "use_ssl"} & given.keys():
                raise ObjectClerkConfigurationException(
                    f"endpoint_url says it all: leave out {', '.join(sorted(both))}"
                )
            return check_url(str(self._first("endpoint_url")), "argument endpoint_url")
        if "host" in given:
            self.origins["endpoint_url"] = "argument"
            use_ssl = bool(given.get("use_ssl"))
            return join_url(str(given["host"]), given.get("port"), use_ssl, "argument host")
        if from_environment and (found := self._endpoint_of_environment(bare)):
            return found
        if alone := {"port", "use_ssl"} & given.keys():
            raise ObjectClerkConfigurationException(
                f"{' and '.join(sorted(alone))} without a host: say which host it is of"
            )
        return None

    def _endpoint_of_environment(self, bare: bool) -> str | None:
        name = self._strongest(
            "OBJECT_STORE_ENDPOINT_URL",
            "OBJECT_STORE_HOST",
            *(["HOST"] if bare else []),
            "AWS_ENDPOINT_URL_S3",
            "AWS_ENDPOINT_URL",
        )
        value = self._first("endpoint_url", name) if name else None
        if name is None or value is None:
            return None
        origin = self.origins["endpoint_url"]
        if not name.endswith("HOST"):
            return check_url(value, origin)
        prefix = name.removesuffix("HOST")
        port = self.arguments.get("port")
        if port is None and (found := self._variable(f"{prefix}PORT")):
            port = found[0]
        return join_url(value, port, self._use_ssl(prefix), origin)

    def _use_ssl(self, prefix: str) -> bool:
        if "use_ssl" in self.arguments:
            return bool(self.arguments["use_ssl"])
        text = (self._variable(f"{prefix}USE_SSL") or ("false",))[0]
        return true_or_false(text, f"variable {prefix}USE_SSL")

    # -- JSON ------------------------------------------------------------------------------

    def _json(self, setting: str, variable: str, default: Mapping[str, Any]) -> dict[str, Any]:
        """A dict from the argument ``setting``, the variable, or the default: one entirely."""
        if setting in self.arguments:
            value, origin = self.arguments[setting], f"argument {setting}"
            if not isinstance(value, dict):
                raise bad(origin, "a dict")
        elif found := self._variable(variable):
            text, origin = found
            value = parse_json(text, origin)
        else:
            return dict(default)
        for name in value:
            self.origins[f"{setting}.{name}"] = origin
        return dict(value)

    def _retry(self, setting: str, variable: str, default: Mapping[str, Any]) -> RetryPolicy:
        given = self._json(setting, variable, {})
        origin = next(iter(self.origins[f"{setting}.{n}"] for n in given), setting)
        given = {_OLD_RETRY_NAMES.get(name, name): value for name, value in given.items()}
        check_names(given, default, origin)
        if setting == "connection_retry":
            given |= {name: self.arguments[name] for name in default if name in self.arguments}
        values = {**default, **given}
        places = {
            name: f"argument {name}" if name in self.arguments else f"{origin}, {name}"
            for name in default
        }
        fields = ("delay_s", "backoff", "jitter_s", "max_delay_s", "tries")
        policy = RetryPolicy(
            delay_s=at_least(0, values["retry_delay"], places["retry_delay"]),
            backoff=at_least(1, values["retry_backoff"], places["retry_backoff"]),
            jitter_s=jitter(values["retry_jitter"], places["retry_jitter"]),
            max_delay_s=at_least(0, values["retry_max_delay"], places["retry_max_delay"]),
            tries=attempts(values["retry_tries"], places["retry_tries"]),
        )
        for field, name in zip(fields, default, strict=True):
            self.origins.pop(f"{setting}.{name}", None)
            if name in given:
                self.origins[f"{setting}.{field}"] = places[name]
        return policy

    def _transfer(self, direction: str, variable: str) -> TransferSettings:
        """The settings of one direction; ``transfer_config`` sets both."""
        if "transfer_config" in self.arguments:
            given = self._json("transfer_config", "", {})
            origin = "argument transfer_config"
        else:
            given = self._json(direction, variable, {})
            origin = next(iter(self.origins.get(f"{direction}.{n}", "") for n in given), variable)
        _check_transfer(given, origin)
        sizes = self._sizes(direction, given, origin)
        threads = given.get("use_threads", True)
        if not isinstance(threads, bool):
            raise bad(f"{origin}, use_threads", "true or false")
        values = {
            "workers": (given.get("max_concurrency") if threads else 1, "max_concurrency"),
            "block_bytes": (given.get("io_chunksize"), "io_chunksize"),
            "bandwidth_bytes_per_s": (given.get("max_bandwidth"), "max_bandwidth"),
            "attempts": (given.get("num_download_attempts"), "num_download_attempts"),
        }
        chosen = dict(sizes)
        for field, (value, name) in values.items():
            self.origins.pop(f"{direction}.{name}", None)
            if value is not None:
                chosen[field] = whole_number(value, f"{origin}, {name}")
                self.origins[f"{direction}.{field}"] = origin
        return TransferSettings(**chosen)

    def _sizes(self, direction: str, given: Mapping[str, Any], origin: str) -> dict[str, int]:
        """The one place that decides from what size on, and in parts of what size.

        An upload's sizes decide its ETag, so ``MULTIPART_THRESHOLD`` owns both and the same
        keys in ``S3_UPLOAD_CONFIG`` are discarded, as documented ever since. A
        ``transfer_config`` argument is stronger than either. Sizes of a download leave no trace.
        """
        threshold, where = DEFAULT_MULTIPART_THRESHOLD, "default"
        if found := self._variable("MULTIPART_THRESHOLD"):
            text, where = found
            threshold = whole_number(text, where)
        part = threshold
        if direction == "download":
            threshold, part, where = 8 * MIB, 8 * MIB, "default"
        wheres = [where, where]
        if direction == "download" or origin.startswith("argument"):
            if (value := given.get("multipart_threshold")) is not None:
                threshold, wheres[0] = whole_number(value, f"{origin}, multipart_threshold"), origin
                if direction == "upload":
                    part, wheres[1] = threshold, origin
            if (value := given.get("multipart_chunksize")) is not None:
                part, wheres[1] = whole_number(value, f"{origin}, multipart_chunksize"), origin
        elif "multipart_threshold" in given or "multipart_chunksize" in given:
            wheres = [f"{w} (sizes in {origin} are discarded)" for w in wheres]
        if max(threshold, part) > LARGEST_PART:
            raise bad(
                wheres[part > LARGEST_PART], f"at most 5 GiB ({LARGEST_PART} bytes), S3's limit"
            )
        for name, source in zip(("threshold_bytes", "part_size_bytes"), wheres, strict=True):
            self.origins[f"{direction}.{name}"] = source
        return {"threshold_bytes": threshold, "part_size_bytes": part}


def _check_transfer(given: Mapping[str, Any], origin: str) -> None:
    """Accept what boto3's TransferConfig accepts, so that files written for it keep working."""
    check_names(given, TRANSFER_NAMES, origin)
    if given.get("preferred_transfer_client") not in (None, "auto", "classic"):
        raise bad(
            f"{origin}, preferred_transfer_client",
            "'auto' or 'classic': the CRT client ignores custom endpoints",
        )


def read_dotenv(dotenv: str | os.PathLike[str] | bool) -> Mapping[str, str | None]:
    """The variables of a ``.env`` file; see :meth:`ClerkConfig.load`."""
    if dotenv is False:
        return {}
    path = Path(".env") if dotenv is True else Path(dotenv)
    if dotenv is True and not path.is_file():
        return {}
    from dotenv import dotenv_values  # most processes have none, so they need not pay for it

    try:
        with path.open(encoding="utf-8") as stream:
            # Not interpolated: a password may well contain "${".
            return dotenv_values(stream=stream, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ObjectClerkConfigurationException(
            f"the file {path} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}"
        ) from error


# -- the constants of 1.1.0 ----------------------------------------------------------------

MULTIPART_THRESHOLD: int
CLIENT_CONFIG: dict[str, Any]
UPLOAD_CONFIG: dict[str, Any]
DOWNLOAD_CONFIG: dict[str, Any]
CHECKSUM_RETRY_CONFIG: dict[str, Any]


def __getattr__(name: str) -> Any:
    """Read a constant of 1.1.0 when it is first used, so that importing can never fail."""
    loader = _Loader(None, True, {})
    readers: dict[str, Callable[[], Any]] = {
        "MULTIPART_THRESHOLD": lambda: loader._sizes("upload", {}, "")["threshold_bytes"],
        "CLIENT_CONFIG": lambda: loader._json("", "S3_CLIENT_CONFIG", DEFAULT_CLIENT_CONFIG),
        "UPLOAD_CONFIG": lambda: loader._json("", "S3_UPLOAD_CONFIG", {}),
        "DOWNLOAD_CONFIG": lambda: loader._json("", "S3_DOWNLOAD_CONFIG", {}),
        "CHECKSUM_RETRY_CONFIG": lambda: loader._json(
            "", "CHECKSUM_RETRY_CONFIG", DEFAULT_CHECKSUM_RETRY
        ),
    }
    if name not in readers:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return readers[name]()
