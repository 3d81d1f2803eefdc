"""TLS for the fault proxy: a certificate of its own, and what its connections need of `ssl`."""

from __future__ import annotations

import atexit
import contextlib
import datetime
import os
import socket
import ssl
import tempfile
from pathlib import Path

StrPath = str | os.PathLike[str]

# Longer than any test, and no longer than needed.
_LIFETIME = datetime.timedelta(days=7)
# How long a client that does not read may keep a connection from being closed.
_FAREWELL_S = 1.0


class MissingTrustmeError(ImportError):
    """The package that makes certificates is not installed."""


class Certificate:
    """What the proxy shows to its clients.

    Attributes:
        context: For the connections with clients.
        ca_bundle: The file that a client has to trust, if the certificate was made here.
    """

    def __init__(self, context: ssl.SSLContext, ca_bundle: Path | None = None) -> None:
        """Keep a context, and watch over the file."""
        context.set_alpn_protocols(["http/1.1"])
        self.context = context
        self.ca_bundle = ca_bundle
        self._owner = os.getpid()
        # Whoever never gets to close the proxy leaves no file behind all the same.
        atexit.register(self.discard)

    @classmethod
    def load(cls, certfile: StrPath, keyfile: StrPath) -> Certificate:
        """Take a certificate, with its chain, and its key from files in PEM format.

        Raises:
            OSError: They cannot be read, or do not fit.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certfile, keyfile)
        return cls(context)

    @classmethod
    def make(cls, *hosts: str) -> Certificate:
        """Found a certificate authority, and let it sign one certificate.

        Args:
            *hosts: The names and addresses the certificate is for.

        Raises:
            MissingTrustmeError: trustme is not installed.
        """
        try:
            import trustme
        except ModuleNotFoundError as error:
            if error.name != "trustme":
                raise
            raise MissingTrustmeError(
                "FaultProxy(tls=True) needs trustme: pip install 'object-clerk[testing]'",
                name="trustme",
            ) from error
        authority = trustme.CA()
        now = datetime.datetime.now(datetime.UTC)
        leaf = authority.issue_cert(*hosts, not_before=now - _LIFETIME, not_after=now + _LIFETIME)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        file, name = tempfile.mkstemp(prefix="object-clerk-ca-", suffix=".pem")
        certificate = cls(context, Path(name))
        with open(file, "wb") as stream:  # noqa: PTH123 - it is open already
            stream.write(authority.cert_pem.bytes())
        return certificate

    def discard(self) -> None:
        """Remove the file, unless it belongs to the process that this one was forked from."""
        if self._owner != os.getpid():
            return
        atexit.unregister(self.discard)
        if self.ca_bundle is not None:
            self.ca_bundle.unlink(missing_ok=True)


def upstream_context(ca_bundle: StrPath | None, verify: bool) -> ssl.SSLContext:
    """Return what the connections to the upstream need.

    Args:
        ca_bundle: A file of certificates to trust; None trusts those that the system does.
        verify: False accepts any certificate.
    """
    context = ssl.create_default_context(cafile=ca_bundle)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def shut_down(sock: socket.socket, how: int) -> None:
    """Shut a connection down, which wakes the thread that reads from it."""
    with contextlib.suppress(OSError):
        # That of SSLSocket would let the other thread go on without encryption.
        socket.socket.shutdown(sock, how)


def hang_up(sock: socket.socket) -> None:
    """Close a connection so that what was sent arrives, and looks as if it were all."""
    if isinstance(sock, ssl.SSLSocket):
        # TLS has an end of its own; without it, a client that reads to the end of the
        # connection would know of a cut. With nothing left to read, ours is sent and the
        # peer's is not waited for. ValueError: it never got as far as a handshake.
        shut_down(sock, socket.SHUT_RD)
        with contextlib.suppress(OSError, ValueError):
            sock.settimeout(_FAREWELL_S)
            sock.unwrap()
    # Half-closing first lets what was sent arrive even if something unread is left.
    shut_down(sock, socket.SHUT_WR)
    sock.close()
