"""Every client example that the guide to the original object store shows, typed anew."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.store import ObjectStore
from tests.gateway.running import gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.running import Running

#: What the guide imports, and where it is here.
THEIRS, OURS = "from client import RestStore", "from object_clerk.rest import RestStore"

QUICK_START = """
from client import RestStore

# Initialize the client
store = RestStore.create(
    base_url='http://localhost:8000',
    api_key='your-api-key'
)

# Store an object
store.put('my-key', b'Hello, World!')

# Check if an object exists
if store.exists('my-key'):
    # Retrieve an object
    data = store.get('my-key')
    print(data.decode())  # Hello, World!

# Delete an object
store.delete('my-key')

# List all objects (with automatic pagination)
for key in store.keys():
    print(key)
"""

CONTEXT_MANAGER = """
with RestStore.create(base_url='http://localhost:8000', api_key='your-api-key') as store:
    store.put('temp-key', b'temporary data')
    data = store.get('temp-key')
    # Connection is automatically closed after the context
"""

OPTIONS = """
store = RestStore.create(
    base_url='http://localhost:8000',
    api_key='your-api-key',
    timeout=30.0,        # Request timeout in seconds
    max_retries=3,       # Maximum number of retry attempts
    retry_delay=1.0      # Initial delay between retries (doubles after each attempt)
)
"""

ERRORS = """
try:
    data = store.get('nonexistent-key')
except KeyError as e:
    print(f"Object not found: {e}")

try:
    for key in store.keys():
        print(key)
except NotImplementedError as e:
    print(f"Listing keys not supported: {e}")
"""


@pytest.fixture
def running(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    memory = ObjectStore({"framework": "memory", "root_bucket": "objects"})
    with gateway(tmp_path_factory.mktemp("gateway"), memory) as started:
        monkeypatch.setenv("TEST_API_KEY", started.token)
        yield started


def run(example: str, running: Running, namespace: dict[str, Any]) -> None:
    """An example as it is printed, with this gateway, its token and our module."""
    code = example.replace("http://localhost:8000", running.url)
    code = code.replace("your-api-key", os.environ["TEST_API_KEY"]).replace(THEIRS, OURS)
    exec(code, namespace)


def test_the_examples_in_their_order(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    run(QUICK_START, running, namespace)
    assert capsys.readouterr().out == "Hello, World!\n"
    first = namespace["store"]

    run(CONTEXT_MANAGER, running, namespace)
    assert namespace["data"] == b"temporary data"
    assert namespace["store"]._client.is_closed

    run(OPTIONS, running, namespace)
    run(ERRORS, running, namespace)
    missing, key = capsys.readouterr().out.splitlines()
    assert missing.startswith("Object not found: get nonexistent-key: ")
    assert key == "temp-key"
    # The guide closes nothing. Whoever runs many tests has to.
    first.close()
    namespace["store"].close()
