"""Every example that the guides to the client show, typed anew: only the package has another name.

The secret key is a real one.
"""

from __future__ import annotations

import textwrap
from typing import Any

from tests.session.keys import KEY, pem

README = """
import datetime

import urllib3

from object_clerk.session import (
    Client,
    NoOpMetricsBackend,
    Permission,
    TimeToIdle,
    TimeToLive,
    TokenGenerator,
    Usecase,
)

# Necessary when using Objectstore instances that enforce authorization checks.
token_generator = TokenGenerator(
    "my-key-id",
    "<securely inject EdDSA private key>",
    expiry_seconds=60,
    permissions=Permission.max(),
)

# This should be stored in a global variable and reused, in order to reuse the connection
client = Client(
    "http://localhost:8888",
    # Optionally, bring your own metrics backend to record things like latency, throughput, and payload sizes
    metrics_backend=NoOpMetricsBackend(),
    # Optionally, enable distributed traces in Sentry
    propagate_traces=True,
    # Optionally, set timeout and retries
    timeout_ms=500, # 500ms timeout for requests
    retries=3,      # Number of connection retries
    # For further customization, provide additional kwargs for urllib3.HTTPConnectionPool
    connection_kwargs={"maxsize": 10},
    # Optionally, provide a token generator for Objectstore instances with authorization enforced
    token_generator=token_generator,
)

# This could also be stored in a global/shared variable, as you will deal with a fixed number of usecases with statically defined defaults
my_usecase = Usecase(
    "my-usecase",
    # Optionally, define defaults for all operations within this Usecase
    expiration_policy=TimeToLive(datetime.timedelta(days=1)),
)

# Start a Session, tied to your Usecase and a Scope.
session = client.session(
    my_usecase, org=42, project=1337, app_slug="email_app"
)

# The following operations will raise an exception on failure

# Write an object and metadata
object_key = session.put(
    b"Hello, world!",
    # You can pass in your own key for the object to decide where to store the file.
    # Otherwise, Objectstore will pick a key and return it.
    # A put request to an existing key overwrites the contents and metadata.
    # key="hello",
    metadata={"key": "value"},
    # Overrides the default defined at the Usecase level
    expiration_policy=TimeToIdle(datetime.timedelta(days=30)),
)

# Read an object and its metadata
result = session.get(object_key)

content = result.payload.read()
assert content == b"Hello, world!"
assert result.metadata.custom["key"] == "value"

# Delete an object
session.delete(object_key)
"""  # noqa: E501 - the comments are as they are

QUICK_START = """
from object_clerk.session import Client, Usecase

client = Client("http://localhost:8888")
session = client.session(Usecase("attachments"), org=42, project=1337)

# Upload
key = session.put(b"Hello, world!")

# Download
result = session.get(key)
content = result.payload.read()

# Delete
session.delete(key)
"""

SCOPES = """
# Scope with org and project (recommended first components)
session = client.session(Usecase("attachments"), org=42, project=1337)

# Additional components are appended after org/project
session = client.session(Usecase("attachments"), org=42, project=1337, app_slug="email_app")
"""

EXPIRATION = """
from datetime import timedelta
from object_clerk.session import Usecase, TimeToIdle, TimeToLive

# Set default expiration on the Usecase
usecase = Usecase("attachments", expiration_policy=TimeToIdle(timedelta(days=30)))

# Override per-upload
session.put(b"payload", expiration_policy=TimeToLive(timedelta(hours=1)))
"""

ORIGIN = 'session.put(b"payload", origin="203.0.113.42")'

COMPRESSION = 'session.put(already_compressed_data, compression="none")'

METADATA = 'session.put(b"payload", metadata={"source": "upload-service"})'

AUTHENTICATION = """
from object_clerk.session import Client, Usecase
from object_clerk.session.auth import TokenGenerator

# Option 1: Internal service with a keypair
client = Client(
    "http://localhost:8888",
    token=TokenGenerator(kid="my-service", secret_key="<private key>"),
)

# Option 2: External service with a pre-signed JWT
# Use TokenGenerator.sign_for_scope() to obtain a static token from an
# internal service, then pass it to the external consumer:
from object_clerk.session.scope import Scope

token = TokenGenerator(
    kid="my-service", secret_key="<private key>",
).sign_for_scope("my_app", Scope(org=42, project=1337))

client = Client("http://localhost:8888", token=token)
"""

CONFIGURATION = """
from object_clerk.session import Client, Usecase

client = Client(
    "http://localhost:8888",
    propagate_traces=False,  # default
    retries=3,               # default: 3 connect retries, no read retries
    timeout_ms=None,         # default: no read timeout (connect: 100ms)
    connection_kwargs={},    # default: empty (override urllib3.HTTPConnectionPool kwargs)
    # metrics_backend=...,   # default: no-op
    # token=...,             # see Authentication section
)

attachments = Usecase("attachments")
"""


class Guide:
    """Runs the examples one after another, as a reader would."""

    def __init__(self, url: str) -> None:
        self.names: dict[str, Any] = {}
        self._url = url

    def run(self, example: str) -> None:
        code = textwrap.dedent(example).replace("http://localhost:8888", self._url)
        for placeholder in ("<securely inject EdDSA private key>", "<private key>"):
            code = code.replace(f'"{placeholder}"', repr(pem(KEY)))
        exec(compile(code, "guide", "exec"), self.names)
