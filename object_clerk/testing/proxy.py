"""A loopback HTTP proxy in front of an S3 endpoint that misbehaves on script."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from .exchange import Exchange, Record
from .faults import Disconnect, Fault, Request, Turn
from .link import Link

if TYPE_CHECKING:
    from collections.abc import Callable

# How long `close` waits for the threads of its connections.
_JOIN_S = 5.0


@dataclass(slots=True)
class _Armed:
    """A fault with its counters; adding the same fault twice gives two of these."""

    fault: Fault
    seen: int = 0
    used: int = 0


class FaultProxy:
    """A reverse proxy on a loopback port with scripted faults.

    Without faults it passes requests and answers through unchanged: bodies are streamed,
    header spelling and order are kept, and the Host header is forwarded as received so
    that signatures made for the proxy's address stay valid. Faults are tried in the order
    they were added, and the first armed one that matches is used on the request.

    Use it as a context manager, or call `start` and `close`.
    """

    def __init__(
        self,
        upstream_url: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        upstream_timeout: float = 120.0,
    ) -> None:
        """Prepare a proxy; nothing is opened before `start`.

        Args:
            upstream_url: The endpoint to forward to, such as ``http://127.0.0.1:5000``.
            host: The address to listen on.
            port: The port to listen on; 0 picks a free one.
            upstream_timeout: How many seconds the upstream may be silent.

        Raises:
            ValueError: The URL is not a plain ``http://host[:port]``.
        """
        parts = urlsplit(upstream_url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"upstream_url must be http://host[:port], not {upstream_url!r}")
        self.upstream_url = upstream_url
        self.host = host
        self.port = port
        self._upstream = (parts.hostname, parts.port or 80)
        self._upstream_timeout = upstream_timeout
        self._lock = threading.RLock()
        self._armed: list[_Armed] = []
        self._records: list[Record] = []
        self._count = 0
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._closing = threading.Event()
        self._listener: socket.socket | None = None

    @property
    def endpoint_url(self) -> str:
        """The URL clients are to use."""
        return f"http://{self.host}:{self.port}"

    @property
    def log(self) -> list[Exchange]:
        """All exchanges so far in order of arrival, those under way included."""
        with self._lock:
            return [record.snapshot() for record in self._records]

    @property
    def fired(self) -> list[Exchange]:
        """The exchanges that a fault really altered."""
        return [exchange for exchange in self.log if exchange.fault is not None]

    def add(self, *faults: Fault) -> None:
        """Arm faults, behind those that are already there."""
        with self._lock:
            self._armed.extend(_Armed(fault) for fault in faults)

    def clear(self) -> None:
        """Disarm all faults; the log stays."""
        with self._lock:
            self._armed.clear()

    def clear_log(self) -> None:
        """Forget the exchanges so far; numbering goes on."""
        with self._lock:
            self._records.clear()

    def start(self) -> Self:
        """Open the port and begin to serve.

        Raises:
            RuntimeError: The proxy was started before.
        """
        if self._listener is not None:
            raise RuntimeError("a FaultProxy can be started only once")
        self._listener = socket.create_server((self.host, self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept, self._listener)
        return self

    def close(self) -> None:
        """Stop serving and close every connection; pauses in progress end."""
        if self._listener is None or self._closing.is_set():
            return
        self._closing.set()
        # Closing a listening socket does not wake a thread that is blocked in accept on
        # every platform; a connection does.
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), timeout=1.0).close()
        self._listener.close()
        with self._lock:
            sockets, threads = list(self._sockets), list(self._threads)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _JOIN_S
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> Self:
        """Start the proxy."""
        return self.start()

    def __exit__(self, *exc: object) -> None:
        """Close the proxy."""
        self.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                # A client that is gone again, or no descriptors left: neither is a reason
                # to stop listening. The pause keeps the latter from spinning.
                self._closing.wait(0.05)
                continue
            if self._closing.is_set():
                sock.close()
            else:
                self._spawn(self._serve, sock)

    def _spawn(self, target: Callable[[socket.socket], None], sock: socket.socket) -> None:
        def run() -> None:
            try:
                target(sock)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=f"fault-proxy-{self.port}", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _serve(self, sock: socket.socket) -> None:
        # A client that vanishes or a proxy that closes are everyday ends of a connection;
        # what happened to a request is in its log entry.
        with (
            contextlib.suppress(OSError, Disconnect),
            contextlib.closing(Link(self._wrap_client(sock), _Hub(self))) as link,
        ):
            while not self._closing.is_set() and link.exchange():
                pass

    # The two places where a byte stream comes into being. Everything else only needs
    # something that behaves like a connected socket.

    def _wrap_client(self, sock: socket.socket) -> socket.socket:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._track(sock)

    def _open_upstream(self) -> socket.socket:
        sock = socket.create_connection(self._upstream, timeout=self._upstream_timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._track(sock)

    def _track(self, sock: socket.socket) -> socket.socket:
        with self._lock:
            # Once `close` has gone through the set nobody would wake this connection.
            if self._closing.is_set():
                sock.close()
                raise Disconnect
            self._sockets.add(sock)
        return sock

    def _release(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)
        # Half-closing first lets what was sent arrive even if something unread is left.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        sock.close()

    def _pause(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise Disconnect

    def _begin(self, request: Request) -> Record:
        with self._lock:
            self._count += 1
            record = Record(self._count, Turn(request, self._pause))
            self._records.append(record)
            return record

    def _choose(self, request: Request) -> Fault | None:
        with self._lock:
            for armed in list(self._armed):
                fault = armed.fault
                spent = fault.times is not None and armed.used >= fault.times
                if spent or not fault.matches(request):
                    continue
                armed.seen += 1
                if armed.seen > fault.skip:
                    armed.used += 1
                    return fault
            return None


class _Hub:
    """What the connections may use of their proxy."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.begin = proxy._begin
        self.choose = proxy._choose
        self.open_upstream = proxy._open_upstream
        self.release = proxy._release
