"""The service does what its OpenAPI document says, whatever it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from object_clerk.gateway.app import create_app
from object_clerk.gateway.settings import GatewaySettings
from object_clerk.gateway.tokens import TokenFile
from object_clerk.store import ObjectStore

if TYPE_CHECKING:
    from pathlib import Path

    from schemathesis.schemas import BaseSchema


_OPERATIONS = (
    ("/objects", "GET"),
    *(("/objects/{key}", method) for method in ("DELETE", "GET", "HEAD", "PUT")),
    ("/presigned", "POST"),
    ("/health", "GET"),
    ("/ready", "GET"),
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("openapi")


@pytest.fixture(scope="module")
def authorization(directory: Path) -> str:
    made = TokenFile(directory / "tokens.json").add("all", 1, ("read", "write", "delete"))
    return f"Bearer {made.text}"


@pytest.fixture(scope="module")
def described(directory: Path) -> BaseSchema:
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    store.put_object_v2(b"content", "key")
    app = create_app(
        GatewaySettings(
            auth_tokens_file=directory / "tokens.json",
            rate_limit=None,
            anonymous_rate_limit=None,
            max_object_bytes=1 << 20,
        ),
        store,
    )
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize(("path", "method"), _OPERATIONS)
def test_every_operation(described: BaseSchema, authorization: str, path: str, method: str) -> None:
    """No request is answered with what the document does not say, and none with a failure."""

    @given(case=described[path][method].as_strategy())
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case: Any) -> None:
        # Keys, digests and cursors have rules that no schema can write down: 400 refuses them.
        case.call_and_validate(
            headers={"Authorization": authorization}, excluded_checks=[positive_data_acceptance]
        )

    check()


def test_all_operations_are_tried(described: BaseSchema) -> None:
    """The list above is what the document has."""
    paths: dict[str, Any] = described.raw_schema["paths"]
    found = {(path, method.upper()) for path, methods in paths.items() for method in methods}
    assert found == set(_OPERATIONS)
