"""A server that costs next to nothing, so that what is measured is the client.

:func:`running` compiles ``s3stub.c`` with ``cc``, once for each state of the source, and starts it
on a free port of 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers import Server, StartFailed, Traits, Unavailable
from tests.servers.common import LOOPBACK, Workplace, building, cache_directory, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_name("s3stub.c")

#: It asks for no signature, but clients want to make one.
ACCESS_KEY, SECRET_KEY = "stubaccess", "stubsecret123"

_COMPILE_S = 120
_START_S = 30


def build() -> Path:
    """Compile the server unless that was done before.

    Raises:
        Unavailable: there is no C compiler, or no libcrypto to build with.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unavailable("the stub server takes a C compiler: there is no cc (Debian: gcc)")
    state = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    target = cache_directory() / f"s3stub-{state}"
    program = target / "s3stub"
    command = [compiler, "-O2", "-pthread", "-o", str(program), str(SOURCE), "-lcrypto"]
    with building(target) as needed:
        if needed:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_COMPILE_S, check=False
            )
            if done.returncode:
                header = "openssl/evp.h" in done.stderr or "-lcrypto" in done.stderr
                hint = "; it takes libcrypto's headers (Debian: libssl-dev)" if header else ""
                raise Unavailable(f"the stub server does not compile{hint}: {done.stderr[-500:]}")
    return program


@contextlib.contextmanager
def running(
    *,
    latency_s: float = 0.0,
    listed: int = 100_000,
    md5: bool = True,
    checksums: bool = True,
    crc64nvme: bool = True,
) -> Iterator[Server]:
    """Start the server, and stop it when the block ends.

    Args:
        latency_s: how long it waits before each answer, as a network would.
        listed: how many keys the bucket ``list`` has.
        md5: whether ETags are MD5s, and Content-MD5 is checked.
        checksums: whether checksum headers are checked; always with ``md5``.
        crc64nvme: whether it knows that checksum; most servers do not.

    Raises:
        Unavailable: as for :func:`build`.
        StartFailed: it did not come up.
    """
    program = build()
    options = [] if md5 else ["-c" if checksums else "-n"]
    options += [] if crc64nvme else ["-6"]
    with tempfile.TemporaryDirectory(prefix="object-clerk-stub-") as directory:
        place = Workplace(Path(directory))
        try:
            (port,) = free_ports(1)
            settings = ["-p", str(port), "-l", str(listed), "-d", str(round(latency_s * 1e6))]
            place.spawn("s3stub", [program, *settings, *options])
            url = f"http://{LOOPBACK}:{port}"
            place.wait_http(url, _START_S)
            yield Server("stub", url, ACCESS_KEY, SECRET_KEY, Traits())
        finally:
            place.stop()


__all__ = ["StartFailed", "Unavailable", "build", "running"]
