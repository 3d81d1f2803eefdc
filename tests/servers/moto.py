"""moto's own server, from the environment that runs the tests."""

import importlib.util
import sys

from .common import LOOPBACK, Endpoint, Unavailable, Workplace, free_ports


def install() -> None:
    """Say what is missing: the test environment is not changed from here."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        raise Unavailable("not installed in this environment: pip install 'moto[s3,server]'")


def start(place: Workplace) -> Endpoint:
    """Start the server."""
    install()
    (port,) = free_ports(1)
    # A high limit keeps objects in memory; temporary files make it several times slower.
    memory = {"MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(64 * 1024 * 1024)}
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    place.spawn("moto", command, memory)
    url = f"http://{LOOPBACK}:{port}"
    place.wait_http(f"{url}/moto-api/", 60)
    return Endpoint(url, "testing", "testing")
