"""OpenStack Swift with its S3 API, one node with one replica, from PyPI wheels."""

from __future__ import annotations

import contextlib
import os
import pwd
from typing import TYPE_CHECKING

from .common import (
    LOOPBACK,
    Endpoint,
    Unavailable,
    Workplace,
    cached_venv,
    free_ports,
)
from .debian import Packages

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "2.38.3"
_OTHERS = ("pyeclib==1.8.0", "setuptools<81")
# Halves the cost of a request, and is optional: only on Debian and its kin it can be had.
_MEMCACHED = Packages("memcached", "usr/bin/memcached", "memcached", "libevent-2.1-7", "libsasl2-2")
# tempauth calls it account and user; the S3 access key is both, joined by a colon.
_ACCOUNT, _USER, _SECRET_KEY = "clerk", "clerk", "clerksecret"
_KINDS = ("account", "container", "object")
_PIPELINE = (
    "catch_errors gatekeeper proxy-logging cache listing_formats bulk s3api tempauth copy slo dlo"
    " versioned_writes symlink proxy-logging proxy-server"
)


def install() -> None:
    """Fill the cache."""
    _bin()
    with contextlib.suppress(Unavailable):
        _MEMCACHED.install()


def _bin() -> Path:
    # setuptools: Swift imports pkg_resources, which newer environments and releases lack.
    return cached_venv("swift", VERSION, *_OTHERS)


def start(place: Workplace) -> Endpoint:
    """Start account, container, object and proxy server, and memcached where there is one."""
    bin_directory = _bin()
    etc, devices = place.make("etc"), place.make("devices")
    place.make("devices", "d1")
    _require_extended_attributes(devices)
    proxy_port, cache_port, *ports = free_ports(2 + len(_KINDS))
    place.write(
        "etc/swift.conf",
        _sections(
            {
                "swift-hash": {
                    "swift_hash_path_prefix": "object",
                    "swift_hash_path_suffix": "clerk",
                },
                "storage-policy:0": {"name": "single", "default": "yes"},
            }
        ),
    )
    for kind, port in zip(_KINDS, ports, strict=True):
        builder = [bin_directory / "swift-ring-builder", f"{kind}.builder"]
        for step in (
            ["create", "4", "1", "0"],
            ["add", f"r1z1-{LOOPBACK}:{port}/d1", "1"],
            ["rebalance"],
        ):
            place.run("ring", [*builder, *step], cwd=etc, timeout=60)
        place.write(f"etc/{kind}-server.conf", _backend(place, kind, port))
    cache = {}
    with contextlib.suppress(Unavailable):
        program, environment = _MEMCACHED.program()
        listen = ["-l", LOOPBACK, "-p", cache_port, "-U", "0"]
        place.spawn("memcached", [program, "-u", _user(), *listen], environment)
        cache = {"memcache_servers": f"{LOOPBACK}:{cache_port}"}
    place.write("etc/proxy-server.conf", _proxy(etc, proxy_port, cache))
    for kind in (*_KINDS, "proxy"):
        server = bin_directory / f"swift-{kind}-server"
        place.spawn(kind, [server, etc / f"{kind}-server.conf"])
    for port in ports:
        place.wait_http(f"http://{LOOPBACK}:{port}/healthcheck", 60)
    url = f"http://{LOOPBACK}:{proxy_port}"
    place.wait_http(f"{url}/info", 60)
    return Endpoint(url, f"{_ACCOUNT}:{_USER}", _SECRET_KEY)


def _require_extended_attributes(directory: Path) -> None:
    # Swift keeps an object's metadata in user attributes of its file.
    try:
        os.setxattr(directory, "user.object-clerk", b"1")
    except (AttributeError, OSError) as error:
        reason = f"{directory} has no extended attributes ({error}); set TMPDIR to one that has"
        raise Unavailable(reason) from error


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _sections(content: dict[str, dict[str, object]]) -> str:
    lines = []
    for title, options in content.items():
        lines.append(f"[{title}]")
        lines.extend(f"{name} = {value}" for name, value in options.items())
    return "\n".join(lines) + "\n"


def _common(etc: Path, port: int, workers: int) -> dict[str, object]:
    return {
        "bind_ip": LOOPBACK,
        "bind_port": port,
        "user": _user(),
        "swift_dir": etc,
        "workers": workers,
        "log_address": "",  # no syslog: the log goes to standard error
        "log_level": "WARNING",
    }


def _backend(place: Workplace, kind: str, port: int) -> str:
    default = _common(place.directory / "etc", port, 2 if kind == "object" else 1) | {
        "devices": place.directory / "devices",
        "mount_check": "false",
        # A test needs no room kept free, and its files are small.
        "disable_fallocate": "true",
        "fallocate_reserve": "0",
        "recon_cache_path": place.make("recon"),
        "lock_path": place.make("lock"),
    }
    return _sections(
        {
            "DEFAULT": default,
            "pipeline:main": {"pipeline": f"healthcheck {kind}-server"},
            "filter:healthcheck": {"use": "egg:swift#healthcheck"},
            f"app:{kind}-server": {"use": f"egg:swift#{kind}", "conn_timeout": 5},
        }
    )


def _proxy(etc: Path, port: int, cache: dict[str, str]) -> str:
    filters: dict[str, dict[str, object]] = {
        "catch_errors": {},
        "gatekeeper": {},
        "proxy-logging": {"use": "egg:swift#proxy_logging", "access_log_name": "off"},
        "cache": {"use": "egg:swift#memcache", **cache},
        "listing_formats": {},
        "bulk": {},
        "s3api": {"location": "us-east-1", "multi_delete_concurrency": 4},
        "tempauth": {f"user_{_ACCOUNT}_{_USER}": f"{_SECRET_KEY} .admin .reseller_admin"},
        "copy": {},
        # The defaults cap a multipart object at 1000 parts and slow down after the first ten.
        "slo": {
            "max_manifest_segments": 10000,
            "max_manifest_size": 8 * 1024 * 1024,
            "rate_limit_after_segment": 10000,
            "concurrency": 4,
        },
        "dlo": {},
        "versioned_writes": {
            "allow_versioned_writes": "true",
            "allow_object_versioning": "true",
        },
        "symlink": {},
    }
    return _sections(
        {
            "DEFAULT": _common(etc, port, 2),
            "pipeline:main": {"pipeline": _PIPELINE},
            "app:proxy-server": {
                "use": "egg:swift#proxy",
                "account_autocreate": "true",
                "conn_timeout": 5,
                "node_timeout": 60,
            },
            **{
                f"filter:{name}": {"use": f"egg:swift#{name}", **options}
                for name, options in filters.items()
            },
        }
    )
