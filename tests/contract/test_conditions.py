"""Writing only if nobody else has: a condition is kept, or refused before anything is sent."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    DestinationExists,
    ObjectClerkException,
    ObjectClerkParameterException,
    PreconditionFailed,
    Receipt,
    UnsupportedError,
    Verdict,
)
from object_clerk.endpoint import Support
from object_clerk.testing import Action, Drop, Fault, callback, drop_after
from tests.contract.support import (
    LARGE,
    SMALL,
    Wire,
    blob,
    keys,
    stored,
    stored_etag,
    unfinished,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from object_clerk.testing import FaultProxy, Request, Turn
    from tests.contract.conftest import MakeClerk
    from tests.servers import Server

VERBS = pytest.mark.parametrize("verb", ["upload", "copy", "move"])
#: A move is a copy, and then some.
UPLOAD_AND_MOVE = pytest.mark.parametrize("verb", ["upload", "move"])
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "multipart"])
CONDITIONS = pytest.mark.parametrize("condition", ["if_absent", "if_match"])

NEVER = f'"{"0" * 32}"'


def write(clerk: ObjectClerk, verb: str, bucket: str, size: int, **conditions: Any) -> Receipt:
    """Write the object "key", by a copy or a move from "source"."""
    if verb == "upload":
        return clerk.upload_object(blob(size), bucket, "key", **conditions)
    method: Callable[..., Receipt] = getattr(clerk, f"{verb}_object")
    return method(bucket, "source", bucket, "key", **conditions)


@pytest.fixture
def knowing(clerk: ObjectClerk, bucket: str) -> ObjectClerk:
    """A clerk that has found out what the server honours."""
    if clerk.endpoint.put_if_match is Support.UNKNOWN:
        clerk.examine_endpoint(bucket)
    return clerk


@pytest.fixture
def proxied(proxied: ObjectClerk, knowing: ObjectClerk) -> ObjectClerk:
    """A clerk behind the proxy that knows the same, since asking takes fifty requests."""
    proxied._connection.endpoint = knowing.endpoint
    return proxied


def prepare(s3: S3Client, verb: str, bucket: str, size: int) -> None:
    """Store what is to be copied."""
    if verb != "upload":
        s3.put_object(Bucket=bucket, Key="source", Body=blob(size))


def honoured(clerk: ObjectClerk, condition: str, verb: str, size: int) -> bool:
    """Whether the server can be held to the condition in one way or the other."""
    name = {"if_absent": "if_none_match", "if_match": "if_match"}[condition]
    put, complete = (
        getattr(clerk.endpoint, f"{request}_{name}") is Support.HONOURED
        for request in ("put", "complete")
    )
    # In one request everything can go that is not too large; in parts what has parts.
    return put or (complete and (verb != "upload" or size == LARGE))


def need(clerk: ObjectClerk, condition: str, verb: str, size: int) -> None:
    if not honoured(clerk, condition, verb, size):
        pytest.skip(f"this server honours no {condition} here")


def commits(request: Request) -> bool:
    """Whether a request would make the object "key", on a condition."""
    conditional = request.header("If-None-Match") or request.header("If-Match")
    return request.path.endswith("/key") and bool(conditional) and request.method != "GET"


@dataclass(frozen=True)
class LostOnTheWay(Action):
    """The request never arrives, and meanwhile something else happens."""

    meanwhile: Callable[[], object]

    def before(self, turn: Turn) -> Drop:
        self.meanwhile()
        return Drop()


# -- what is there when it begins ------------------------------------------------------------


@SIZES
@VERBS
def test_if_absent(verb: str, size: int, knowing: ObjectClerk, s3: S3Client, bucket: str) -> None:
    clerk = knowing
    prepare(s3, verb, bucket, size)
    before = keys(s3, bucket)
    if not honoured(clerk, "if_absent", verb, size):
        wire = Wire(clerk)
        with pytest.raises(UnsupportedError, match="honour If-None-Match"):
            write(clerk, verb, bucket, size, if_absent=True)
        assert set(wire.methods()) == {"HEAD"}
        assert keys(s3, bucket) == before
        return

    receipt = write(clerk, verb, bucket, size, if_absent=True)
    assert receipt.verdict in (Verdict.CONTENT, Verdict.TRANSPORT)
    assert stored(s3, bucket, "key") == blob(size)

    s3.put_object(Bucket=bucket, Key="key", Body=b"of somebody else")
    prepare(s3, verb, bucket, size)
    with pytest.raises(DestinationExists) as caught:
        write(clerk, verb, bucket, size, if_absent=True)
    assert (caught.value.bucket, caught.value.key) == (bucket, "key")
    assert stored(s3, bucket, "key") == b"of somebody else"
    assert verb == "upload" or stored(s3, bucket, "source") == blob(size)
    assert unfinished(s3, bucket) == []


@SIZES
@VERBS
def test_if_match(verb: str, size: int, knowing: ObjectClerk, s3: S3Client, bucket: str) -> None:
    clerk = knowing
    prepare(s3, verb, bucket, size)
    with pytest.raises(PreconditionFailed, match="no object"):
        write(clerk, verb, bucket, size, if_match=NEVER)
    s3.put_object(Bucket=bucket, Key="key", Body=b"of somebody else")
    etag = stored_etag(s3, bucket, "key")
    with pytest.raises(PreconditionFailed, match=etag):
        write(clerk, verb, bucket, size, if_match=NEVER)
    if not honoured(clerk, "if_match", verb, size):
        wire = Wire(clerk)
        with pytest.raises(UnsupportedError, match="honour If-Match"):
            write(clerk, verb, bucket, size, if_match=etag)
        assert set(wire.methods()) == {"HEAD"}
    assert stored(s3, bucket, "key") == b"of somebody else"
    assert verb == "upload" or stored(s3, bucket, "source") == blob(size)
    assert unfinished(s3, bucket) == []

    if honoured(clerk, "if_match", verb, size):
        quoted = f'"{etag}"' if size == SMALL else etag  # both spellings are taken
        receipt = write(clerk, verb, bucket, size, if_match=quoted)
        assert receipt.verdict in (Verdict.CONTENT, Verdict.TRANSPORT)
        assert stored(s3, bucket, "key") == blob(size)


# -- what happens meanwhile ------------------------------------------------------------------


@CONDITIONS
@SIZES
@UPLOAD_AND_MOVE
def test_somebody_else_is_faster(
    verb: str,
    size: int,
    condition: str,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    bucket: str,
) -> None:
    """It is the server that decides, in the moment in which the object would appear."""
    prepare(s3, verb, bucket, size)
    need(proxied, condition, verb, size)
    wanted: dict[str, Any] = {"if_absent": True}
    if condition == "if_match":
        s3.put_object(Bucket=bucket, Key="key", Body=b"old")
        wanted = {"if_match": stored_etag(s3, bucket, "key")}
    proxy.add(
        callback(lambda: s3.put_object(Bucket=bucket, Key="key", Body=b"faster"), when=commits)
    )
    expected = DestinationExists if condition == "if_absent" else PreconditionFailed
    with pytest.raises(expected) as caught:
        write(proxied, verb, bucket, size, **wanted)

    assert [each.fault for each in proxy.fired] == ["callback"]
    assert caught.value.status == 412
    assert stored(s3, bucket, "key") == b"faster"
    assert verb == "upload" or stored(s3, bucket, "source") == blob(size)
    assert unfinished(s3, bucket) == []


@CONDITIONS
@SIZES
@UPLOAD_AND_MOVE
def test_lost_answer_is_no_failure(
    verb: str,
    size: int,
    condition: str,
    proxied: ObjectClerk,
    proxy: FaultProxy,
    s3: S3Client,
    bucket: str,
) -> None:
    """E11: what was stored by the first attempt is not taken for somebody else's by the second."""
    prepare(s3, verb, bucket, size)
    need(proxied, condition, verb, size)
    wanted: dict[str, Any] = {"if_absent": True}
    if condition == "if_match":
        s3.put_object(Bucket=bucket, Key="key", Body=b"old")
        wanted = {"if_match": stored_etag(s3, bucket, "key")}
    proxy.add(drop_after(when=commits))
    receipt = write(proxied, verb, bucket, size, **wanted)

    assert [each.fault for each in proxy.fired] == ["drop_after"]
    assert receipt.attempts == 2
    assert receipt.verdict in (Verdict.CONTENT, Verdict.TRANSPORT)
    assert stored(s3, bucket, "key") == blob(size)
    assert "source" not in keys(s3, bucket)
    assert unfinished(s3, bucket) == []


@SIZES
@UPLOAD_AND_MOVE
def test_others_are_not_taken_for_ours(
    verb: str, size: int, proxied: ObjectClerk, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    """The first attempt never arrived; what the second one finds is of somebody else."""
    prepare(s3, verb, bucket, size)
    need(proxied, "if_absent", verb, size)

    def meanwhile() -> None:
        s3.put_object(Bucket=bucket, Key="key", Body=blob(size))  # even if it is the same

    proxy.add(Fault(name="lost", action=LostOnTheWay(meanwhile), when=commits))
    with pytest.raises(DestinationExists):
        write(proxied, verb, bucket, size, if_absent=True)

    assert [each.fault for each in proxy.fired] == ["lost"]
    assert not s3.head_object(Bucket=bucket, Key="key")["Metadata"].get("clerk-tx")
    assert verb == "upload" or "source" in keys(s3, bucket)
    assert unfinished(s3, bucket) == []


@SIZES
def test_one_of_two_wins(
    size: int, knowing: ObjectClerk, s3: S3Client, server: Server, bucket: str
) -> None:
    """Two at once: one has stored its object, the other is told that there is one."""
    need(knowing, "if_absent", "upload", size)
    if not server.traits.put_if_none_match_atomic:
        pytest.skip("trait put_if_none_match_atomic: several writers win here")
    if server.name == "moto" and size == LARGE:
        pytest.skip("several of eight CompleteMultipartUpload at once were seen to win in moto")
    together = threading.Barrier(2)
    outcomes: dict[int, Receipt | ObjectClerkException] = {}

    def upload(number: int) -> None:
        together.wait(timeout=30)
        try:
            outcomes[number] = knowing.upload_object(
                blob(size, number), bucket, "key", if_absent=True
            )
        except ObjectClerkException as error:
            outcomes[number] = error

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    won = [number for number, outcome in outcomes.items() if isinstance(outcome, Receipt)]
    assert len(won) == 1, outcomes
    assert isinstance(outcomes[1 - won[0]], DestinationExists)
    assert stored(s3, bucket, "key") == blob(size, won[0])
    assert unfinished(s3, bucket) == []


# -- finding out -----------------------------------------------------------------------------


def test_server_is_asked_once(make_clerk: MakeClerk, s3: S3Client, bucket: str) -> None:
    """Scratch objects are made below the prefix only, and removed; the second time none is."""
    clerk = make_clerk(probe_prefix="scratch/of mine/")
    wire = Wire(clerk)

    def attempt(key: str) -> list[str]:
        wire.sent.clear()
        try:
            clerk.upload_object(b"content", bucket, key, if_absent=True)
        except UnsupportedError:
            assert not honoured(clerk, "if_absent", "upload", SMALL)
        return [each.path for each in wire.sent if f"/{bucket}/scratch/of" in each.path]

    assert attempt("one") != []
    assert attempt("two") == []
    supported = honoured(clerk, "if_absent", "upload", SMALL)
    assert keys(s3, bucket) == (["one", "two"] if supported else [])
    assert unfinished(s3, bucket) == []


@VERBS
@pytest.mark.parametrize(
    "conditions", [{"if_absent": True, "if_match": "x"}, {"if_match": ""}, {"if_match": '""'}]
)
def test_impossible_conditions(
    conditions: dict[str, Any], verb: str, clerk: ObjectClerk, bucket: str
) -> None:
    wire = Wire(clerk)
    with pytest.raises(ObjectClerkParameterException, match="if_match"):
        write(clerk, verb, bucket, SMALL, **conditions)

    assert wire.sent == []
