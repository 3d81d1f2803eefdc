"""MiniStack, an emulator in one ASGI process, from its own environment (it pins botocore)."""

from pathlib import Path

from .common import LOOPBACK, Endpoint, Workplace, cached_venv, free_ports

VERSION = "1.5.33"


def install() -> None:
    """Fill the cache."""
    _bin()


def _bin() -> Path:
    return cached_venv("ministack", VERSION)


def start(place: Workplace) -> Endpoint:
    """Start the server."""
    bin_directory = _bin()
    (port,) = free_ports(1)
    # Its own launcher binds every interface, so the app is served by hypercorn directly.
    place.spawn(
        "ministack",
        [bin_directory / "hypercorn", "ministack.app:app", "--bind", f"{LOOPBACK}:{port}"],
        {
            "GATEWAY_PORT": str(port),
            "LOG_LEVEL": "WARNING",
            "STATE_DIR": str(place.make("state")),
        },
    )
    url = f"http://{LOOPBACK}:{port}"
    place.wait_http(f"{url}/_ministack/health", 60)
    return Endpoint(url, "test", "test")
