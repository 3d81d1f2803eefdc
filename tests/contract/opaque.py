"""A store whose ETags say nothing, made of one whose ETags do."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import pytest

from object_clerk.testing import Action, Fault

if TYPE_CHECKING:
    from object_clerk.testing import ResponseHead, Turn
    from tests.servers import Traits

    Headers = tuple[tuple[str, str], ...]

CONDITIONS = ("if-match", "if-none-match", "x-amz-copy-source-if-match")


@dataclasses.dataclass(frozen=True)
class OpaqueEtags(Action):
    """Gives every ETag another name on its way to the client, and its own on the way back.

    Attributes:
        signed: conditions are passed on as they are, since altering them breaks the signature.
        real: the name given -> the ETag.
    """

    signed: bool
    real: dict[str, str] = dataclasses.field(default_factory=dict)

    def edit_request_headers(self, turn: Turn, headers: Headers) -> Headers:
        if self.signed:
            return headers
        return tuple(
            (name, self.real.get(value, value) if name.lower() in CONDITIONS else value)
            for name, value in headers
        )

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        headers = []
        for name, value in head.headers:
            given = value
            if name.lower() == "etag":
                given = f'"opaque-{hashlib.sha1(value.encode()).hexdigest()}"'
                self.real[given] = value
                turn.effective = True
            headers.append((name, given))
        return dataclasses.replace(head, headers=tuple(headers))


def opaque_etags(traits: Traits, *, conditions: bool = False) -> Fault:
    """A fault that lets nobody recognise an MD5 in the headers; parts keep theirs.

    Args:
        traits: those of the server.
        conditions: whether the server will compare an ETag that it has given out. If it also
            checks signatures the test is skipped.
    """
    if traits.verifies_signatures and conditions:
        pytest.skip("this server checks signatures, so no ETag can be renamed in a condition")
    return Fault(
        name="opaque_etags",
        action=OpaqueEtags(traits.verifies_signatures),
        times=None,
        when=lambda request: "partNumber" not in request.query,
    )
