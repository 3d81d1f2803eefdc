"""MinIO, built from source by the Go toolchain: no package of it exists."""

import os
import shutil
import subprocess
from pathlib import Path

from .common import (
    LOOPBACK,
    Endpoint,
    Unavailable,
    Workplace,
    building,
    cache_directory,
    free_ports,
    is_built,
)

VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
_MODULE = "github.com/minio/minio"
_ACCESS_KEY = "minioaccess"
_SECRET_KEY = "miniosecret123"


def _target() -> Path:
    return cache_directory() / f"minio-{VERSION}"


def install() -> None:
    """Build the server into the cache, which takes some minutes the first time."""
    if os.environ.get("MINIO_BINARY"):
        _binary()
        return
    if is_built(_target()):
        return
    go = shutil.which("go")
    if go is None:
        raise Unavailable("building it needs `go` on PATH, or set MINIO_BINARY")
    with building(_target()) as needed:
        if needed:
            environment = os.environ | {"GOBIN": str(_target()), "CGO_ENABLED": "0"}
            subprocess.run(
                [go, "install", f"{_MODULE}@{VERSION}"], env=environment, check=True, timeout=3600
            )


def _binary() -> Path:
    if chosen := os.environ.get("MINIO_BINARY"):
        path = Path(chosen).expanduser()
        if not path.is_file():
            raise Unavailable(f"MINIO_BINARY names no file: {path}")
        return path
    # Never built by a test run: a compile of minutes is not what `pytest` was asked for.
    if not is_built(_target()):
        raise Unavailable("not built: python -m tests.servers install minio, or set MINIO_BINARY")
    return _target() / "minio"


def start(place: Workplace) -> Endpoint:
    """Start the server."""
    binary = _binary()
    port, console = free_ports(2)
    place.spawn(
        "minio",
        [
            binary,
            *("server", place.make("data"), "--quiet"),
            *("--address", f"{LOOPBACK}:{port}"),
            *("--console-address", f"{LOOPBACK}:{console}"),
            *("--certs-dir", place.make("certs")),
        ],
        {
            "MINIO_ROOT_USER": _ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": _SECRET_KEY,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",  # no question to the network about newer releases
            "HOME": str(place.make("home")),
        },
    )
    url = f"http://{LOOPBACK}:{port}"
    place.wait_http(f"{url}/minio/health/live", 60)
    place.wait_http(f"{url}/minio/health/ready", 60)
    return Endpoint(url, _ACCESS_KEY, _SECRET_KEY)
