"""The application behind uvicorn: the socket, the log, and how it ends."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from object_clerk.exceptions import ObjectClerkConfigurationException
from object_clerk.gateway.protocol import protocol

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import FrameType

    from object_clerk.gateway.settings import GatewaySettings

log = logging.getLogger(__name__)

#: For so long requests that have begun may go on when the server is asked to end.
GRACE_S = 30

#: For so long after that threads may tidy up that were uploading.
_TIDY_S = 3

_APPLICATION = "object_clerk.gateway.app:app"

#: Connections that wait to be accepted.
_BACKLOG = 2048

#: A proxy in front of us keeps its connections longer than uvicorn's 5 seconds, and must not find
#: one closed that it was about to use.
_KEEP_ALIVE_S = 75


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ObjectClerkConfigurationException: the port is in use, or there is no such address.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address, family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        # create_server adds the address to the error's text.
        said = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
        raise ObjectClerkConfigurationException(
            f"HOST and PORT: cannot listen at port {port} of {host}: {said}"
        ) from error
    # Connections inherit it. Without it the body of a small answer waits until the client has
    # acknowledged the head, for 40 ms; asyncio sets it only where a socket tells its protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def url_of(listener: socket.socket) -> str:
    """Where the socket is, with the port that it really has."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(settings: GatewaySettings, listener: socket.socket) -> signal.Signals | None:
    """Serve until a signal comes, and let requests end that have begun.

    The application takes its settings from the environment.

    Args:
        settings: how to serve.
        listener: where; closed at the end.

    Returns:
        the signal, SIGINT or SIGTERM; None if the application could not start, which the log
        explains.
    """
    config = uvicorn.Config(
        _APPLICATION,
        http=protocol(settings.header_timeout_s, settings.idle_timeout_s),
        ws="none",
        lifespan="on",
        workers=settings.workers,
        backlog=_BACKLOG,
        log_config=log_config(settings),
        access_log=False,  # the application tells more of each request
        server_header=False,
        proxy_headers=settings.forwarded_allow_ips is not None,
        forwarded_allow_ips=settings.forwarded_allow_ips or "",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    with listener:
        if settings.workers > 1:
            workers = _Workers(config, [listener])
            workers.run()
            return workers.ended_by
        server = _Server(config)
        try:
            server.run([listener])
        except SystemExit as error:
            if error.code != STARTUP_FAILURE:
                raise
        return server.ended_by


def log_config(settings: GatewaySettings) -> dict[str, Any]:
    """The configuration of :mod:`logging`: all of it goes to stderr, in the chosen format."""
    names = ("object_clerk", "uvicorn")
    logger = {"handlers": ["stderr"], "level": settings.log_level.upper(), "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {"()": "object_clerk.gateway.logs.JsonFormatter"},
            "text": {"()": "object_clerk.gateway.logs.TextFormatter"},
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": settings.log_format}
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": dict.fromkeys(names, logger),
    }


def leave(code: int, others: Collection[threading.Thread]) -> None:
    """End the process if threads wait for a store that does not answer; else do nothing.

    Python waits for such threads at its end, for ever. Those that are about to end may do so. A
    worker needs none of this: uvicorn ends it by the signal that it was sent.

    Args:
        code: the exit code.
        others: threads that were there before, and are none of ours.
    """
    end = time.monotonic() + _TIDY_S
    for thread in threading.enumerate():
        if thread not in others and not thread.daemon:
            thread.join(max(0, end - time.monotonic()))
            if thread.is_alive():
                log.warning("the store does not answer: what was asked of it is given up")
                logging.shutdown()
                sys.stdout.flush()
                os._exit(code)


class _Server(uvicorn.Server):
    """Remembers the signal that ended it, where uvicorn would raise it again."""

    ended_by: signal.Signals | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self.ended_by = signal.Signals(sig)


class _Workers(Multiprocess):
    """Remembers the signal that ended it."""

    ended_by: signal.Signals | None = None

    def handle_int(self) -> None:
        self.ended_by = signal.SIGINT
        super().handle_int()

    def handle_term(self) -> None:
        self.ended_by = signal.SIGTERM
        super().handle_term()

    def terminate_all(self) -> None:
        # Nobody accepts connections any more: who comes now has to know at once.
        for each in self.sockets:
            each.close()
        super().terminate_all()
