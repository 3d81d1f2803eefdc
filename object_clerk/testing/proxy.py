"""A loopback proxy, HTTP or HTTPS, in front of an S3 endpoint that misbehaves on script."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from .draws import Draws
from .exchange import Exchange, Record
from .faults import HANDSHAKE, Disconnect, Fault, Request, Turn
from .link import Link
from .tls import Certificate, StrPath, hang_up, shut_down, upstream_context
from .wire import BLOCK

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

# How long `close` waits for the threads of its connections.
_JOIN_S = 5.0
_PORTS = {"http": 80, "https": 443}


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

    Chance enters where a fault has a `rate` or a place that is drawn. The same requests then
    meet the same faults for the same seed, whatever the order in which threads send them.

    Use it as a context manager, or call `start` and `close`. An exception that leaves the
    ``with`` block gets a note with the seed.

    Attributes:
        upstream_url: The endpoint it forwards to.
        host: The address it listens on.
        port: The port it listens on, once it is started.
    """

    def __init__(
        self,
        upstream_url: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool | tuple[StrPath, StrPath] = False,
        upstream_ca_bundle: StrPath | None = None,
        upstream_verify: bool = True,
        upstream_timeout: float = 120.0,
        seed: int | None = None,
    ) -> None:
        """Prepare a proxy; nothing is opened before `start`.

        Args:
            upstream_url: The endpoint to forward to, such as ``http://127.0.0.1:5000``.
            host: The address to listen on.
            port: The port to listen on; 0 picks a free one.
            tls: Whether clients are to use https. With True a certificate is made, which
                clients can verify with `ca_bundle`; that needs the package trustme. Or the
                files, in PEM format, of a certificate and its key.
            upstream_ca_bundle: A file of certificates to trust in an https upstream, instead
                of those that the system trusts.
            upstream_verify: False accepts any certificate of the upstream.
            upstream_timeout: How many seconds the upstream may be silent.
            seed: What chance depends on; None draws one.

        Raises:
            ValueError: The URL is not a plain ``http[s]://host[:port]``.
        """
        parts = urlsplit(upstream_url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"upstream_url must be http[s]://host[:port], not {upstream_url!r}")
        self.upstream_url = upstream_url
        self.host = host
        self.port = port
        self._tls = tls
        self._certificate: Certificate | None = None
        self._upstream = (parts.hostname, parts.port or _PORTS[parts.scheme])
        self._upstream_tls = parts.scheme == "https"
        self._upstream_trust = (upstream_ca_bundle, upstream_verify)
        self._upstream_context: ssl.SSLContext | None = None
        self._upstream_timeout = upstream_timeout
        self._draws = Draws(seed)
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
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    @property
    def ca_bundle(self) -> str | None:
        """The file of the certificate to trust; None without TLS, or with files of one's own.

        It is there from `start` to `close`.
        """
        path = self._certificate.ca_bundle if self._certificate is not None else None
        return None if path is None else str(path)

    @property
    def seed(self) -> int:
        """What chance depends on: the one that was given, or else drawn."""
        return self._draws.seed

    def __repr__(self) -> str:
        """Show what is needed to have the same once more."""
        tls = ", tls=True" if self._tls else ""
        return f"FaultProxy({self.upstream_url!r}{tls}, seed={self.seed})"

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
        """Arm faults, behind those that are already there.

        Raises:
            ValueError: A fault in the TLS handshake, and there is no TLS.
        """
        for fault in faults:
            if fault.method == HANDSHAKE and not self._tls:
                raise ValueError(f"{fault.name} needs FaultProxy(..., tls=True)")
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
            MissingTrustmeError: A certificate is to be made, and trustme is not installed.
            OSError: The port is taken, or a file of certificates cannot be used.
        """
        if self._listener is not None:
            raise RuntimeError("a FaultProxy can be started only once")
        try:
            if self._upstream_tls:
                self._upstream_context = upstream_context(*self._upstream_trust)
            if isinstance(self._tls, tuple):
                self._certificate = Certificate.load(*self._tls)
            elif self._tls:
                hosts = dict.fromkeys((self.host, "127.0.0.1", "::1", "localhost"))
                self._certificate = Certificate.make(*hosts)
            self._listener = socket.create_server((self.host, self.port), backlog=128)
            self.port = self._listener.getsockname()[1]
            self._spawn(self._accept, self._listener)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop serving and close every connection; pauses in progress end.

        If it is interrupted, it can be called again.
        """
        if self._certificate is not None:
            self._certificate.discard()
        if self._listener is None:
            return
        self._closing.set()
        if self._listener.fileno() != -1:
            # Closing a listening socket does not wake a thread that is blocked in accept on
            # every platform; a connection does.
            with contextlib.suppress(OSError):
                socket.create_connection((self.host, self.port), timeout=1.0).close()
            self._listener.close()
        with self._lock:
            sockets, threads = list(self._sockets), list(self._threads)
        for sock in sockets:
            shut_down(sock, socket.SHUT_RDWR)
        deadline = time.monotonic() + _JOIN_S
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> Self:
        """Start the proxy."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the proxy."""
        if error is not None:
            error.add_note(f"{self!r} brings the same faults again")
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
            contextlib.closing(Link(self._welcome(sock), _Hub(self))) as link,
        ):
            while not self._closing.is_set() and link.exchange():
                pass

    # The two places where a byte stream comes into being. Everything else only needs
    # something that behaves like a connected socket.

    def _welcome(self, sock: socket.socket) -> socket.socket:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._track(sock)
        if self._certificate is None:
            return sock
        turn = self._turn(Request(HANDSHAKE, ""))
        record: Record | None = None
        try:
            fault = self._choose(turn)
            if fault is not None:
                record = self._enter(turn)
                record.fault = fault
                self._disturb(sock, turn, fault)
            return self._encrypt(sock, self._certificate.context, server_side=True)
        except BaseException as exc:
            self._release(sock)
            if isinstance(exc, Disconnect) or self._closing.is_set():
                raise Disconnect from exc
            # No request will tell of this connection, so the handshake is in the log itself.
            record = record or self._enter(turn)
            record.error = f"{type(exc).__name__}: {exc}"
            raise Disconnect from exc

    @staticmethod
    def _disturb(sock: socket.socket, turn: Turn, fault: Fault) -> None:
        if fault.action.before(turn) is not None:
            turn.effective = True
            # What the client says first: closed over something unread, the connection would
            # be reset, and that at a moment nobody can foretell.
            sock.recv(BLOCK)
            raise Disconnect

    def _open_upstream(self) -> socket.socket:
        sock = socket.create_connection(self._upstream, timeout=self._upstream_timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._track(sock)
        if self._upstream_context is None:
            return sock
        return self._encrypt(sock, self._upstream_context, server_hostname=self._upstream[0])

    def _encrypt(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> socket.socket:
        # The handshake is done when the new socket can already be woken by `close`.
        with self._lock:
            self._sockets.discard(sock)
        secured = context.wrap_socket(
            sock,
            server_side=server_side,
            server_hostname=server_hostname,
            do_handshake_on_connect=False,
        )
        try:
            self._track(secured)
            secured.do_handshake()
        except BaseException:
            self._release(secured)
            raise
        return secured

    def _track(self, sock: socket.socket) -> None:
        with self._lock:
            # Once `close` has gone through the set nobody would wake this connection.
            if self._closing.is_set():
                sock.close()
                raise Disconnect
            self._sockets.add(sock)

    def _release(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)
        hang_up(sock)

    def _pause(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise Disconnect

    def _turn(self, request: Request) -> Turn:
        with self._lock:
            return Turn(request, self._pause, self._draws.stream(request))

    def _enter(self, turn: Turn) -> Record:
        with self._lock:
            self._count += 1
            record = Record(self._count, turn)
            self._records.append(record)
            return record

    def _begin(self, request: Request) -> Record:
        with self._lock:
            return self._enter(self._turn(request))

    def _choose(self, turn: Turn) -> Fault | None:
        with self._lock:
            for armed in list(self._armed):
                fault = armed.fault
                # Drawn whether it is needed or not: whether another fault is spent by now
                # may depend on the order of threads.
                drawn = turn.random.random() < fault.rate
                spent = fault.times is not None and armed.used >= fault.times
                if spent or not fault.matches(turn.request):
                    continue
                armed.seen += 1
                if armed.seen > fault.skip and drawn:
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
