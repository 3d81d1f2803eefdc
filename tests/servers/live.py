"""Any S3 endpoint that the environment names: HOST, PORT, ACCESS_KEY, SECRET_KEY, and USE_SSL.

BUCKET may name an empty bucket to use where the credentials may not create one.
"""

import os

from .common import Endpoint, Unavailable, Workplace

_NEEDED = ("HOST", "PORT", "ACCESS_KEY", "SECRET_KEY")
# Read at import: tests run with these variables removed.
_SETTINGS = {name: os.environ.get(name, "") for name in (*_NEEDED, "USE_SSL", "BUCKET")}
_FALSE = ("", "0", "false", "no", "off")


def configured() -> bool:
    """Tell whether all four variables are set."""
    return all(_SETTINGS[name] for name in _NEEDED)


def shared_bucket() -> str:
    """Return the name of the bucket to use when none can be created, or an empty string."""
    return _SETTINGS["BUCKET"]


def install() -> None:
    """Check the settings; there is nothing to install."""
    if not configured():
        missing = ", ".join(name for name in _NEEDED if not _SETTINGS[name])
        raise Unavailable(f"not set in the environment: {missing}")


def start(place: Workplace) -> Endpoint:
    """Return the endpoint; it has to be running already."""
    del place  # nothing of it is ours
    install()
    scheme = "http" if _SETTINGS["USE_SSL"].lower() in _FALSE else "https"
    host = _SETTINGS["HOST"]
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"  # a bare IPv6 address
    return Endpoint(
        f"{scheme}://{host}:{_SETTINGS['PORT']}", _SETTINGS["ACCESS_KEY"], _SETTINGS["SECRET_KEY"]
    )
