"""Test doubles for code that talks to S3: an embedded server and a fault proxy.

`EmbeddedServer` runs an S3 server (moto) as a child process on a loopback port.
`FaultProxy` sits between a client and any S3 endpoint and misbehaves on script:
it flips bits, cuts bodies, drops answers, lies in headers. Together they let a
test show that a client notices, instead of hoping that it would::

    from object_clerk.testing import EmbeddedServer, FaultProxy, flip_response_bit

    with EmbeddedServer() as server, FaultProxy(server.endpoint_url) as proxy:
        server.create_bucket("photos")
        proxy.add(flip_response_bit(offset=100, method="GET"))
        ...  # point the client at proxy.endpoint_url
        assert [exchange.fault for exchange in proxy.fired] == ["flip_response_bit"]

Only `EmbeddedServer` needs moto, and only ``FaultProxy(tls=True)`` needs trustme
(``pip install 'object-clerk[testing]'``), and only when they are started: importing this
package imports the standard library alone.
"""

from .exchange import Exchange
from .factories import (
    body_after,
    callback,
    cut_response,
    drip,
    drop_after,
    drop_before,
    drop_handshake,
    flip_request_bit,
    flip_response_bit,
    ignore_range,
    rewrite_response_header,
    stall,
    stall_handshake,
    status_after,
    status_before,
    trim_response,
    wrong_range,
)
from .faults import (
    HANDSHAKE,
    Action,
    Disconnect,
    Drop,
    Fault,
    Match,
    Reply,
    Request,
    ResponseHead,
    Turn,
    error_document,
)
from .proxy import FaultProxy
from .server import EmbeddedServer, EmbeddedServerError, MissingServerError
from .tls import MissingTrustmeError

__all__ = [
    "HANDSHAKE",
    "Action",
    "Disconnect",
    "Drop",
    "EmbeddedServer",
    "EmbeddedServerError",
    "Exchange",
    "Fault",
    "FaultProxy",
    "Match",
    "MissingServerError",
    "MissingTrustmeError",
    "Reply",
    "Request",
    "ResponseHead",
    "Turn",
    "body_after",
    "callback",
    "cut_response",
    "drip",
    "drop_after",
    "drop_before",
    "drop_handshake",
    "error_document",
    "flip_request_bit",
    "flip_response_bit",
    "ignore_range",
    "rewrite_response_header",
    "stall",
    "stall_handshake",
    "status_after",
    "status_before",
    "trim_response",
    "wrong_range",
]
