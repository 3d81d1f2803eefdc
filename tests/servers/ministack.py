"""MiniStack, an emulator in one ASGI process, from its own environment (it pins botocore)."""

from pathlib import Path

from .common import LOOPBACK, Endpoint, Workplace, cached_venv, free_ports

VERSION = "1.5.33"
_OTHERS = ("awscrt==0.38.1",)
# It sums these two byte by byte in Python, a second for every few MiB, which was most of the time
# that its tests took.
_APP = """
from awscrt import checksums
from ministack.app import app
from ministack.services import s3

for name in ("crc64nvme", "crc32c"):
    assert getattr(s3, f"_{name}")(b"123456789") == getattr(checksums, name)(b"123456789")
    setattr(s3, f"_{name}", getattr(checksums, name))
"""


def install() -> None:
    """Fill the cache."""
    _bin()


def _bin() -> Path:
    return cached_venv("ministack", VERSION, *_OTHERS)


def start(place: Workplace) -> Endpoint:
    """Start the server."""
    bin_directory = _bin()
    (port,) = free_ports(1)
    # Its own launcher binds every interface, so the app is served by hypercorn directly.
    place.write("served.py", _APP)
    place.spawn(
        "ministack",
        [bin_directory / "hypercorn", "served:app", "--bind", f"{LOOPBACK}:{port}"],
        {
            "PYTHONPATH": str(place.directory),
            "GATEWAY_PORT": str(port),
            "LOG_LEVEL": "WARNING",
            "STATE_DIR": str(place.make("state")),
        },
    )
    url = f"http://{LOOPBACK}:{port}"
    place.wait_http(f"{url}/_ministack/health", 60)
    return Endpoint(url, "test", "test")
