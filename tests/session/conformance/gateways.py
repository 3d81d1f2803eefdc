"""The gateway as it is installed, in a process of its own, with tokens, policies and limits."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from object_clerk.session import Client, SecretKey, Session, Usecase
from object_clerk.session.scope import Scope
from tests.gateway.processes import service
from tests.session.conformance.asking import PATIENCE_S, Answer, ask
from tests.session.keys import KEY, OTHER, pem, public_pem

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

READER = Ed25519PrivateKey.generate()
STRANGER = Ed25519PrivateKey.generate()

#: Signs for everything. The gateway has an older key under the same name.
SECRET = SecretKey("main", pem(KEY))

USECASE = "conformance"
#: Nothing without an end, and a week at most.
STRICT = "strict"
#: One request a while.
BUSY = "busy"
#: Switched off.
KILLED = "killed"

_SESSIONS: dict[str, Any] = {
    "auth": {
        "enforce": True,
        "keys": {
            "main": {"key_files": ["old.pem", "main.pem"]},
            "reader": {"key_files": ["reader.pem"], "max_permissions": ["object.read"]},
            "writer": {"key_files": ["reader.pem"], "max_permissions": ["object.write"]},
        },
    },
    "usecases": {STRICT: {"expiration": {"manual": {"allowed": False}, "ttl": {"max": "7d"}}}},
    "killswitches": [{"usecase": KILLED}],
    "rate_limits": {"throughput": {"rules": [{"usecase": BUSY, "rps": 0.001}]}},
}


@dataclasses.dataclass(frozen=True)
class Gateway:
    """One that runs.

    Attributes:
        url: where it listens.
        process: the one that was started.
        workers: how many processes answer.
    """

    url: str
    process: subprocess.Popen[bytes]
    workers: int


@contextlib.contextmanager
def serving(
    directory: Path, storage: Mapping[str, Any] | None, workers: int = 1
) -> Iterator[Gateway]:
    """``object-clerk serve`` over a store; ended whatever happens.

    Args:
        directory: for its files.
        storage: what ``storage.yaml`` says; None for the memory of the process.
        workers: how many processes answer.
    """
    for name, key in (("old", OTHER), ("main", KEY), ("reader", READER)):
        (directory / f"{name}.pem").write_text(public_pem(key))
    # JSON is YAML.
    (directory / "sessions.yaml").write_text(json.dumps(_SESSIONS))
    arguments = ["--workers", str(workers)]
    if storage is not None:
        (directory / "storage.yaml").write_text(json.dumps(storage))
        arguments += ["--storage-config", "storage.yaml"]
    with service(directory, *arguments, SESSIONS_CONFIG="sessions.yaml") as served:
        yield Gateway(served.url, served.process, workers)


_NUMBERS = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Place:
    """A scope that one test has for itself.

    Attributes:
        gateway: where it is.
        client: signs for everything.
        scope: its scope.
    """

    gateway: Gateway
    client: Client
    scope: Mapping[str, str]

    @property
    def session(self) -> Session:
        return self.session_of(USECASE)

    def session_of(self, usecase: str | Usecase) -> Session:
        """The same scope of a usecase."""
        made = Usecase(usecase) if isinstance(usecase, str) else usecase
        return self.client.session(made, **self.scope)

    def path(
        self, key: str = "", usecase: str = USECASE, scope: str | None = None, kind: str = "objects"
    ) -> str:
        """The path of an object, or of the collection."""
        where = str(Scope(**self.scope)) if scope is None else scope
        return f"/v1/{kind}/{usecase}/{where}/{quote(key)}"

    def token(self, usecase: str = USECASE) -> str:
        """A token for everything here."""
        return SECRET.sign_for_scope(usecase, Scope(**self.scope))

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """The answer to a raw request with a token for everything here."""
        usecase = target.split("/")[3]
        given = {"x-os-auth": f"Bearer {self.token(usecase)}", **(headers or {})}
        return ask(self.gateway.url, method, target, given, body)

    def put(self, key: str, body: bytes | Iterable[bytes], **headers: str) -> Answer:
        """PUT of an object; underscores stand for hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("PUT", self.path(key), given, body)

    def get(self, key: str, **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("GET", self.path(key), given)

    def head(self, key: str) -> Answer:
        return self.ask("HEAD", self.path(key))


def signing(url: str, **options: Any) -> Client:
    """A client that signs for everything, and waits for nothing too long."""
    return Client(url, **{"token": SECRET, "timeout_ms": PATIENCE_S * 1000, **options})


@contextlib.contextmanager
def placed(gateway: Gateway) -> Iterator[Place]:
    """A scope that nobody else has."""
    with signing(gateway.url) as client:
        yield Place(gateway, client, {"test": str(next(_NUMBERS)), "project": "7"})
