"""The lines of the check-list that a gateway has to keep, whatever the store.

Nothing is known here but the HTTP of ``/v1`` and the client that users have. Lines that are about
the client alone are in ``test_client``.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import itertools
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote, urlsplit

import jwt
import pytest
import urllib3

from object_clerk.exceptions import ObjectSaveException
from object_clerk.session import (
    ExpiryExtensionRejected,
    MultipartCompleteError,
    ObjectNotFound,
    Permission,
    RequestError,
    SecretKey,
    TimeToIdle,
    TimeToLive,
    Usecase,
)
from object_clerk.session.zstd import zstd
from tests.session.conformance.asking import PATIENCE_S, Answer, ask, connected, head
from tests.session.conformance.gateways import (
    BUSY,
    KILLED,
    READER,
    STRANGER,
    STRICT,
    USECASE,
    Gateway,
    Place,
    signing,
)
from tests.session.conformance.old_clients import BOTH, Client016, Client0210, OldClient
from tests.session.keys import KEY, OTHER, pem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CONTENT = b"Hello, world! " * 100
MAGIC = b"\x28\xb5\x2f\xfd"
SECOND = timedelta(seconds=1)
ALL = [each.value for each in Permission]


def time_of(answer: Answer, what: str) -> datetime:
    """When it was created, or when it expires."""
    text = answer.get(f"x-sn-time-{what}")
    assert text is not None
    assert text.endswith("Z")
    assert len(text.partition(".")[2]) == len("123456Z")
    return datetime.fromisoformat(text)


def metadata_in(answer: Answer) -> dict[str, str]:
    """The headers that describe the object."""
    return {
        name: value
        for name, value in answer.headers
        if name in ("content-type", "content-encoding") or name.startswith("x-sn")
    }


def in_json(answer: Answer) -> str:
    """What an error in JSON says."""
    said = answer.json
    assert set(said) <= {"detail", "causes"}
    detail = said["detail"]
    assert isinstance(detail, str)
    assert detail
    return detail


def in_text(answer: Answer) -> str:
    """What an error in plain text says."""
    assert (answer.get("content-type") or "").startswith("text/plain")
    assert answer.text
    return answer.text


class Contract:
    """The lines; a class below says over which store."""

    @pytest.fixture
    def gateway(self) -> Gateway:
        raise NotImplementedError

    # -- putting ---------------------------------------------------------------------------

    def test_post(self, place: Place) -> None:
        """Line 1: POST answers 201 and a key that GET finds; no two are the same."""
        answers = [place.ask("POST", place.path(), body=CONTENT) for _ in range(2)]
        answers.append(place.ask("POST", place.path().rstrip("/"), body=CONTENT))
        assert [answer.status for answer in answers] == [201] * 3
        keys = {answer.json["key"] for answer in answers}
        keys |= {place.session.put(CONTENT, compression="none") for _ in range(2)}
        keys |= {client(place).put(CONTENT, compression="none") for client in BOTH}
        assert len(keys) == 7
        for key in keys:
            answer = place.get(key)
            assert (answer.status, answer.body) == (200, CONTENT)

    def test_keys(self, place: Place) -> None:
        """Line 2: PUT answers 200 and the key as it is meant, whatever is in it."""
        keys = [
            "a/b/c",
            "two words",
            "100%",
            "50%41x",
            "50Ax",
            "ü/ß 日本",
            "what?a=1#b",
            "a+b&c;d=e",
        ]
        for number, key in enumerate(keys):
            if number % 2:
                assert place.session.put(key.encode(), key) == key
            else:
                answer = place.put(key, key.encode())
                assert (answer.status, answer.json["key"]) == (200, key)
        for key in keys:
            assert place.session.get(key).payload.read() == key.encode()

    def test_put_again(self, place: Place) -> None:
        """Line 3: bytes, metadata and the time of creation are new."""
        first = place.put(
            "k", b"first", x_snme_a="1", x_sn_origin="here", x_sn_expiration="ttl:1h",
            Content_Type="text/plain",
        )  # fmt: skip
        created = time_of(place.head("k"), "created")
        again = place.put("k", b"second, longer", x_snme_b="2")
        assert (first.status, again.status, again.json["key"]) == (200, 200, "k")
        answer = place.get("k")
        assert answer.body == b"second, longer"
        told = metadata_in(answer)
        assert told.pop("x-sn-time-created")
        told.pop("x-sn-size", None)
        assert told == {"content-type": "application/octet-stream", "x-snme-b": "2"}
        assert time_of(answer, "created") > created

    def test_put_again_begins_anew(self, place: Place) -> None:
        """Line 3: how long the one before was to live means nothing, nor does that it is dead."""
        for before in ("extended", "deleted", "dead"):
            text = "ttl:0s" if before == "dead" else "ttl:1h"
            assert place.put("k", b"first", x_sn_expiration=text).status == 200
            if before != "dead":
                place.session.extend_expiry("k", from_now=timedelta(days=9))
            if before == "deleted":
                place.session.delete("k")
            assert place.put("k", b"second", x_sn_expiration="ttl:2h").status == 200
            answer = place.get("k")
            assert answer.body == b"second"
            assert time_of(answer, "expires") - time_of(answer, "created") == timedelta(hours=2)
            assert place.put("k", b"third").status == 200
            answer = place.get("k")
            assert (answer.body, answer.get("x-sn-time-expires")) == (b"third", None)

    @pytest.mark.parametrize("size", [0, 1, 1_300_000])
    def test_bodies(self, place: Place, size: int) -> None:
        """Line 4: a body may come in chunks and without its length, and may be empty."""
        content = bytes(range(256)) * (size // 256) + bytes(size % 256)
        pieces = [content[at : at + 50_000] for at in range(0, size, 50_000)]
        assert (place.put("pieces", pieces).status, place.put("whole", content).status) == (
            200,
            200,
        )
        assert (place.get("pieces").body, place.get("whole").body) == (content, content)
        posted = place.ask("POST", place.path(), body=pieces)
        assert place.get(posted.json["key"]).body == content
        if not size:
            assert place.ask("PUT", place.path("nothing said")).status == 200
            assert place.get("nothing said").body == b""

    def test_names_of_headers(self, place: Place) -> None:
        """Line 5: they are in lower case on the wire, whatever is answered."""
        made = place.put(
            "k", b"c", X_SNME_Name="v", X_SN_Origin="o", X_SN_Filename="f", X_SN_Expiration="tti:1h"
        )
        answers = [
            (made, 200), (place.ask("POST", place.path(), body=b""), 201), (place.get("k"), 200),
            (place.get("k", Range="bytes=0-0"), 206), (place.head("k"), 204),
            (place.get("missing"), 404), (place.put("k", b"", Content_Encoding="gzip"), 400),
            (place.ask("PUT", place.path("k", scope="a"), body=b""), 400),
            (ask(place.gateway.url, "GET", place.path("k")), 400),
            (ask(place.gateway.url, "GET", "/health"), 200),
            (place.ask("DELETE", place.path("k")), 204),
        ]  # fmt: skip
        for answer, status in answers:
            assert answer.status == status
            assert answer.names == [name.lower() for name in answer.names]
        assert {"x-snme-name", "x-sn-origin", "x-sn-expiration"} <= set(answers[2][0].names)

    def test_names_of_headers_of_the_connection(self, place: Place) -> None:
        """Line 5: those of the connection too."""
        upload = place.session.initiate_multipart_upload(key="k")
        part = upload.put_part(b"x", part_number=1)
        body = {"parts": [{"part_number": 1, "etag": part.etag}]}
        at = f"{place.path('k', kind='objects:multipart:complete')}?upload_id={upload.upload_id}"
        for answer in (
            place.get("missing", Connection="close"),
            place.ask("POST", at, body=json.dumps(body).encode()),
        ):
            assert answer.names == [name.lower() for name in answer.names]

    def test_compressed(self, place: Place) -> None:
        """Line 6: a put is stored as a frame of zstd, and comes back as it was."""
        place.session.put(CONTENT, "k")
        answer = place.get("k")
        assert answer.get("content-encoding") == "zstd"
        assert answer.body.startswith(MAGIC)
        assert len(answer.body) < len(CONTENT)
        assert zstd.decompress(answer.body) == CONTENT
        response = place.session.get("k")
        assert response.payload.read() == CONTENT
        assert response.metadata.compression is None
        for client in BOTH:
            read = client(place).get("k")
            assert (read.payload, read.compression) == (CONTENT, None)
            client(place).put(CONTENT, "theirs")
            assert place.get("theirs").get("content-encoding") == "zstd"
            assert place.session.get("theirs").payload.read() == CONTENT

    def test_not_compressed(self, place: Place) -> None:
        """Line 7: ``compression="none"`` stores the bytes as they are, and says nothing."""
        place.session.put(CONTENT, "k", compression="none")
        answer = place.get("k")
        assert answer.body == CONTENT
        assert "content-encoding" not in answer.names
        assert place.session.get("k").payload.read() == CONTENT
        for client in BOTH:
            assert client(place).get("k").payload == CONTENT

    def test_as_stored(self, place: Place) -> None:
        """Line 8: who wants the frame gets it, and is told that it is one."""
        place.session.put(CONTENT, "k")
        stored = place.get("k").body
        wanted: list[dict[str, Any]] = [
            {"decompress": False}, {"accept_encoding": ["zstd"]}, {"accept_encoding": ["*"]},
        ]  # fmt: skip
        for options in wanted:
            response = place.session.get("k", **options)
            assert response.payload.read() == stored
            assert response.metadata.compression == "zstd"
        assert zstd.decompress(stored) == CONTENT

    def test_two_frames(self, place: Place) -> None:
        """Line 9: frames one after the other are all taken apart."""
        frames = zstd.compress(CONTENT) + zstd.compress(b"the second")
        assert place.put("raw", [frames], Content_Encoding="zstd").status == 200
        place.session.put(frames, "client", precompressed=True)
        for key in ("raw", "client"):
            assert place.session.get(key).payload.read() == CONTENT + b"the second"
            assert place.session.get(key, decompress=False).payload.read() == frames
            assert place.get(key).body == frames

    # -- what is said of an object -----------------------------------------------------------

    def test_metadata(self, place: Place) -> None:
        """Line 10: type, origin and one's own names come back, the names in lower case."""
        place.session.put(
            b"", "k", content_type="text/plain; charset=utf-8", origin="203.0.113.42",
            metadata={"Source-Of": "upload service", "Who": "Zoë, 100 %"},
        )  # fmt: skip
        custom = {"source-of": "upload service", "who": "Zoë, 100 %"}
        for metadata in (place.session.get("k").metadata, place.session.head("k")):
            assert metadata is not None
            assert metadata.content_type == "text/plain; charset=utf-8"
            assert (metadata.origin, metadata.custom) == ("203.0.113.42", custom)
        for answer in (place.get("k"), place.head("k")):
            assert answer.get("content-type") == "text/plain; charset=utf-8"
            assert answer.get("x-sn-origin") == "203.0.113.42"
            told = {name: answer.get(f"x-snme-{name}") or "" for name in custom}
            assert {name: unquote(text) for name, text in told.items()} == custom
            assert all(text.isascii() for text in told.values())
        read = Client0210(place).get("k")
        assert (read.origin, read.custom) == ("203.0.113.42", custom)

    @pytest.mark.parametrize("client", BOTH)
    def test_metadata_of_old_clients(self, place: Place, client: type[OldClient]) -> None:
        """Line 10: what they say is understood, and they understand it again."""
        sent = client(place).send(
            CONTENT, "k", content_type="image/png", origin="10.0.0.1",
            metadata={"Source-Of": "upload-service", "plain_name": "a,b;c=d"},
        )  # fmt: skip
        assert sent.status == 200
        custom = {"source-of": "upload-service", "plain_name": "a,b;c=d"}
        read = client(place).get("k")
        assert (read.content_type, read.origin, read.custom) == ("image/png", "10.0.0.1", custom)
        metadata = place.session.get("k").metadata
        assert (metadata.content_type, metadata.origin) == ("image/png", "10.0.0.1")
        assert metadata.custom == custom

    def test_metadata_beyond_ascii(self, place: Place) -> None:
        """Line 10: percent-encoded it comes back; raw it is refused, as ever."""
        new = Client0210(place)
        assert new.send(b"", "k", metadata={"who": "Zoë 日本"}).status == 200
        assert new.get("k").custom == {"who": "Zoë 日本"}
        assert place.session.get("k").metadata.custom == {"who": "Zoë 日本"}
        refused = Client016(place).send(b"", "old", metadata={"who": "Zoë"})
        assert (refused.status, bool(in_json(refused))) == (400, True)
        assert place.get("old").status == 404

    def test_raw_metadata_that_looks_encoded(self, place: Place) -> None:
        """Line 10: raw text beyond ASCII is refused, and never becomes other text."""
        refused = Client016(place).send(b"", "old", metadata={"who": "ZoÃ«"})
        assert refused.status == 400
        assert place.get("old").status == 404

    def test_default_type(self, place: Place) -> None:
        """Line 11: it is application/octet-stream."""
        place.put("raw", b"")
        place.session.put(b"", "client")
        for client in BOTH:
            client(place).put(b"", client.__name__)
        for key in ("raw", "client", "Client016", "Client0210"):
            for answer in (place.get(key), place.head(key)):
                assert answer.get("content-type") == "application/octet-stream"
            assert place.session.get(key).metadata.content_type == "application/octet-stream"
            assert Client016(place).get(key).content_type == "application/octet-stream"

    # -- expiry ----------------------------------------------------------------------------

    def test_time_to_live(self, place: Place) -> None:
        """Line 12: an hour is written ``ttl:1h``, and is an hour."""
        before = datetime.now(UTC)
        place.session.put(b"", "k", expiration_policy=TimeToLive(timedelta(hours=1)))
        after = datetime.now(UTC)
        for answer in (place.get("k"), place.head("k"), place.get("k")):
            assert answer.get("x-sn-expiration") == "ttl:1h"
            created = time_of(answer, "created")
            assert before <= created <= after
            assert time_of(answer, "expires") - created == timedelta(hours=1)
        metadata = place.session.get("k").metadata
        assert metadata.expiration_policy == TimeToLive(timedelta(hours=1))
        assert metadata.time_created is not None
        assert metadata.time_expires == metadata.time_created + timedelta(hours=1)

    def test_time_to_live_ends(self, place: Place) -> None:
        """Line 12: an object is there until its time is over, then it is 404."""
        before = datetime.now(UTC)
        assert place.put("k", CONTENT, x_sn_expiration="ttl:1s").status == 200
        after = datetime.now(UTC)
        end = time.monotonic() + PATIENCE_S
        while True:
            sent = datetime.now(UTC)
            answer = place.get("k")
            if answer.status == 404:
                break
            assert (answer.status, answer.body) == (200, CONTENT)
            assert sent < after + SECOND, "it is there although its time is over"
            assert time.monotonic() < end
            time.sleep(0.05)
        assert datetime.now(UTC) >= before + SECOND, "it has gone before its time was over"
        assert answer.body == b""
        assert place.head("k").status == 404
        assert place.session.head("k") is None
        with pytest.raises(ObjectNotFound):
            place.session.get("k")
        place.put("k", b"new")
        assert place.get("k").body == b"new"

    @pytest.mark.parametrize("client", BOTH)
    @pytest.mark.parametrize("days", [31, 400])
    def test_long_times(self, place: Place, client: type[OldClient], days: int) -> None:
        """Line 13: 31 and 400 days are the same to both generations, and to us."""
        delta = timedelta(days=days)
        client(place).put(b"", "theirs", expiration=("ttl", delta))
        place.session.put(b"", "ours", expiration_policy=TimeToLive(delta))
        for key in ("theirs", "ours"):
            for reader in BOTH:
                read = reader(place).get(key)
                assert read.expiration == ("ttl", delta)
                assert read.created is not None
                assert read.expires == read.created + delta
            metadata = place.session.head(key)
            assert metadata is not None
            assert metadata.expiration_policy == TimeToLive(delta)
            assert metadata.time_created is not None
            assert metadata.time_expires == metadata.time_created + delta

    def test_grammar(self, place: Place) -> None:
        """Line 14: times are read as people and clients write them."""
        delta = timedelta(days=1, seconds=7205)
        for text, policy, told in (
            ("ttl:1 days 7205 seconds", TimeToLive(delta), "ttl:1d 2h 5s"),
            ("ttl:1day 2h", TimeToLive(timedelta(hours=26)), "ttl:1d 2h"),
            ("tti:90min", TimeToIdle(timedelta(minutes=90)), "tti:1h 30m"),
            ("manual", None, None),
        ):  # fmt: skip
            assert place.put("k", b"", x_sn_expiration=text).status == 200
            assert place.head("k").get("x-sn-expiration") == told
            assert place.session.get("k").metadata.expiration_policy == policy
        for kind in ("ttl", "tti"):
            Client016(place).put(b"", "k", expiration=(kind, delta))
            for client in BOTH:
                assert client(place).get("k").expiration == (kind, delta)

    def test_no_grammar(self, place: Place) -> None:
        """Line 14: what is no time is 400, and nothing is stored."""
        for text in ("ttl:", "ttl:abc", "foo", "tti:", "ttl:1", "ttl:-1s", ""):
            answer = place.put("k", b"", x_sn_expiration=text)
            assert (answer.status, bool(in_json(answer))) == (400, True)
        # This is what it makes of less than a second.
        answer = Client016(place).send(b"", "k", expiration=("ttl", timedelta(milliseconds=10)))
        assert answer.status == 400
        assert place.get("k").status == 404

    def test_time_to_idle(self, place: Place) -> None:
        """Line 15: reads keep an object alive; each tells when it would have died without it."""
        for number in range(4):
            if _outlives(place, str(number), SECOND * 2**number):
                return
        pytest.fail("this machine is too slow to read once in eight seconds")

    def test_time_to_idle_is_moved_seldom(self, place: Place) -> None:
        """Line 15: what has just been written is as good as new, and reads move nothing."""
        place.put("k", CONTENT, x_sn_expiration="tti:1h")
        for answer in (place.get("k"), place.head("k"), place.get("k")):
            assert time_of(answer, "expires") - time_of(answer, "created") == timedelta(hours=1)

    def test_no_policy(self, place: Place) -> None:
        """Line 16: an object without a policy says nothing of one."""
        place.session.put(b"", "ours")
        place.put("raw", b"")
        for client in BOTH:
            client(place).put(b"", client.__name__)
        for key in ("ours", "raw", "Client016", "Client0210"):
            for answer in (place.get(key), place.head(key)):
                assert not {"x-sn-expiration", "x-sn-time-expires"} & set(answer.names)
            metadata = place.session.get(key).metadata
            assert (metadata.expiration_policy, metadata.time_expires) == (None, None)
            assert metadata.time_created is not None
            assert Client0210(place).get(key).expiration is None

    # -- scopes ----------------------------------------------------------------------------

    def test_scopes(self, place: Place) -> None:
        """Line 17: another scope is another place, and so is another order."""
        number = place.scope["test"]
        anywhere = _signed(place, res={"os:usecase": USECASE, "test": "*", "project": "*"})
        token = {"x-os-auth": f"Bearer {anywhere}"}
        scopes = (
            f"test={number};project=7", f"project=7;test={number}", f"test={number}",
            f"test={number}-;project=7", f"test={number};project=8", f"project=7-{number}",
        )  # fmt: skip
        at = [place.path("k", scope=scope) for scope in scopes]
        for already, path in enumerate(at):
            missing = [place.ask("GET", each, token).status for each in at[already:]]
            assert missing == [404] * len(missing)
            assert place.ask("PUT", path, token, path.encode()).status == 200
        for path in at:
            assert place.ask("GET", path, token).body == path.encode()
        one = place.client.session(Usecase(USECASE), a="1", test=number)
        other = place.client.session(Usecase(USECASE), test=number, a="1")
        one.put(b"", "k")
        assert (one.exists("k"), other.exists("k")) == (True, False)
        other_usecase = place.session_of("another")
        assert not other_usecase.exists("k")

    def test_bad_scopes(self, place: Place) -> None:
        """Line 18: what is no scope is 400, as text."""
        bad = [
            "a",
            "a=",
            "=1",
            ";",
            "a=1;",
            "a=*",
            "a=b.c",
            "a=1=2",
            "a=%2F",
            "a=b%20c",
            "a=%C3%BC",
        ]
        for scope in bad:
            for method, key in (("PUT", "k"), ("GET", "k"), ("POST", "")):
                body = None if method == "GET" else b""
                answer = place.ask(method, place.path(key, scope=scope), body=body)
                assert (answer.status, bool(in_text(answer))) == (400, True)
        for value in ("*", "a.b", "a b", "ü", ""):
            with pytest.raises(ValueError, match="scope"):
                place.client.session(Usecase(USECASE), a=value)

    @pytest.mark.parametrize("name", ["self", "cls", "usecase", "0", "-_()$!+'"])
    def test_names_of_scopes(self, place: Place, name: str) -> None:
        """Line 18: a scope may have any name that its characters allow."""
        number = place.scope["test"]
        token = _signed(place, res={"os:usecase": USECASE, name: number})
        at = place.path("k", scope=f"{name}={number}")
        assert _asked(place, token, "PUT", at).status == 200
        assert _asked(place, token, "GET", at).status == 200

    def test_no_scopes(self, place: Place) -> None:
        """Line 18: ``_`` stands for none."""
        key = f"k{place.scope['test']}"
        answer = place.ask("PUT", place.path(key, scope="_"), body=CONTENT)
        assert answer.status == 200
        assert place.ask("GET", place.path(key, scope="_")).body == CONTENT
        session = place.client.session(Usecase(USECASE))
        assert session.get(key).payload.read() == CONTENT
        assert place.get(key).status == 404

    # -- missing, deleted, looked at -----------------------------------------------------------

    def test_missing(self, place: Place) -> None:
        """Line 19: 404 without a body; an error has its status and the text."""
        for answer in (place.get("k"), place.head("k")):
            assert (answer.status, answer.body) == (404, b"")
        with pytest.raises(ObjectNotFound) as missing:
            place.session.get("k")
        assert isinstance(missing.value, RequestError)
        assert (missing.value.status, missing.value.response) == (404, "")
        assert place.session.head("k") is None
        refused = place.put("k", b"", Content_Encoding="gzip")
        assert refused.status == 400
        with pytest.raises(RequestError) as caught:
            place.session_of(STRICT).put(b"", "k")
        assert caught.value.status == 400
        assert json.loads(caught.value.response)["detail"] == caught.value.detail
        with pytest.raises(RequestError) as killed:
            place.session_of(KILLED).get("k")
        assert (killed.value.status, bool(killed.value.response)) == (403, True)

    def test_delete(self, place: Place) -> None:
        """Line 20: 204, then 404; to delete what is missing is no failure of the server."""
        place.put("k", CONTENT, x_sn_expiration="tti:1h")
        place.session.put(CONTENT, "client")
        deleted = place.ask("DELETE", place.path("k"))
        assert (deleted.status, deleted.body) == (204, b"")
        place.session.delete("client")
        for key in ("k", "client"):
            assert (place.get(key).status, place.head(key).status) == (404, 404)
            assert place.session.head(key) is None
        place.put("dead", b"", x_sn_expiration="ttl:0s")
        for key in ("k", "never there", "dead"):
            assert place.ask("DELETE", place.path(key)).status in (204, 404)
            with contextlib.suppress(ObjectNotFound):
                place.session.delete(key)

    def test_head(self, place: Place) -> None:
        """Line 21: 204, what GET says, and no body."""
        place.session.put(
            CONTENT, "k", content_type="text/plain", origin="o", filename="f.txt",
            metadata={"a": "b"}, expiration_policy=TimeToLive(timedelta(hours=1)),
        )  # fmt: skip
        found = place.head("k")
        assert found.status == 204
        told = metadata_in(found)
        assert told == metadata_in(place.get("k"))
        assert {"content-type", "content-encoding", "x-sn-expiration", "x-sn-time-created",
                "x-sn-time-expires", "x-sn-origin", "x-snme-a"} <= set(told)  # fmt: skip
        with connected(place.gateway.url) as connection:
            headers = {"x-os-auth": f"Bearer {place.token()}", "Connection": "close"}
            connection.sendall(head("HEAD", place.path("k"), headers))
            everything = b"".join(iter(lambda: connection.recv(65536), b""))
        assert everything.endswith(b"\r\n\r\n")
        assert everything.count(b"\r\n\r\n") == 1
        metadata = place.session.head("k")
        assert metadata is not None
        assert metadata.compression == "zstd"
        assert (metadata.origin, metadata.custom) == ("o", {"a": "b"})

    # -- who may do what -----------------------------------------------------------------------

    def test_no_token(self, place: Place) -> None:
        """Line 22: 400."""
        for method, key in (
            ("PUT", "k"),
            ("POST", ""),
            ("GET", "k"),
            ("HEAD", "k"),
            ("DELETE", "k"),
        ):
            body = b"" if method in ("PUT", "POST") else None
            for headers in ({}, {"authorization": "Basic abc"}):
                answer = ask(place.gateway.url, method, place.path(key), headers, body)
                assert answer.status == 400
        assert place.get("k").status == 404

    def test_bad_tokens(self, place: Place) -> None:
        """Line 22: 401 for garbage, and what is expired, or signed by somebody else."""
        good = _signed(place)
        body, signature = good.rsplit(".", 1)
        bad = [
            "garbage", "a.b.c", _signed(place, exp=int(time.time()) - 120),
            _signed(place, STRANGER), _signed(place, kid="unknown"), _signed(place, READER),
            f"{body}.{signature[:-8]}AAAAAAAA", _signed(place, exp=None),
        ]  # fmt: skip
        for token in bad:
            answer = _asked(place, token)
            assert (answer.status, bool(in_json(answer))) == (401, True), token
        assert place.get("k").status == 404
        assert _asked(place, good).status == 200

    def test_what_a_token_does_not_allow(self, place: Place) -> None:
        """Line 22: 403 for a permission that is missing, another usecase, or another scope."""
        res = {"os:usecase": USECASE, **place.scope}
        for permission, methods in (("object.write", ("PUT", "POST", "PATCH")),
                                    ("object.read", ("GET", "HEAD")),
                                    ("object.delete", ("DELETE",))):  # fmt: skip
            lacking = _signed(place, permissions=[each for each in ALL if each != permission])
            for method in methods:
                assert _asked(place, lacking, method).status == 403
        others = (
            {**res, "os:usecase": "other"}, {**res, "project": "8"},
            {"os:usecase": USECASE, "test": place.scope["test"]}, {"os:usecase": USECASE},
        )  # fmt: skip
        for other in others:
            answer = _asked(place, _signed(place, res=other))
            assert (answer.status, bool(in_json(answer))) == (403, True)
        assert place.get("k").status == 404
        with signing(
            place.gateway.url, token=_signed(place, permissions=["object.read"])
        ) as client:
            session = client.session(Usecase(USECASE), **place.scope)
            with pytest.raises(RequestError) as caught:
                session.put(b"")
            assert caught.value.status == 403

    def test_where_tokens_are(self, place: Place) -> None:
        """Line 24: ``x-os-auth`` counts more; Authorization does alone, in any case."""
        good = place.token()
        for headers, status in (
            ({"x-os-auth": f"Bearer {good}", "authorization": "Bearer garbage"}, 200),
            ({"x-os-auth": "Bearer garbage", "authorization": f"Bearer {good}"}, 401),
            ({"authorization": f"Bearer {good}"}, 200),
            ({"Authorization": f"bearer {good}"}, 200),
            ({"X-Os-Auth": f"bearer {good}"}, 200),
            ({"x-os-auth": good}, 400),
        ):
            answer = ask(place.gateway.url, "PUT", place.path("k"), headers, b"")
            assert answer.status == status, headers

    def test_any_value(self, place: Place) -> None:
        """Line 25: a token with ``*`` opens any value of that scope, and of no other."""
        number = place.scope["test"]
        token = _signed(place, res={"os:usecase": USECASE, "test": number, "project": "*"})
        for project in ("7", "8", "elsewhere"):
            at = place.path("k", scope=f"test={number};project={project}")
            assert _asked(place, token, "PUT", at).status == 200
        other = place.path("k", scope=f"test={number}-;project=7")
        assert _asked(place, token, "PUT", other).status == 403
        with signing(place.gateway.url, token=token) as client:
            session = client.session(Usecase(USECASE), test=number, project=99)
            session.put(CONTENT, "k")
            assert session.get("k").payload.read() == CONTENT

    def test_what_a_key_may(self, place: Place) -> None:
        """Line 26: a token cannot do more than its key."""
        place.put("k", CONTENT)
        token = _signed(place, READER, kid="reader")
        assert (
            "object.write" in jwt.decode(token, options={"verify_signature": False})["permissions"]
        )
        for method, status in (("GET", 200), ("HEAD", 204), ("PUT", 403), ("POST", 403),
                               ("DELETE", 403)):  # fmt: skip
            assert _asked(place, token, method).status == status
        assert place.get("k").body == CONTENT
        signer = SecretKey("reader", pem(READER))
        with signing(place.gateway.url, token=signer) as client:
            session = client.session(Usecase(USECASE), **place.scope)
            assert session.get("k").payload.read() == CONTENT
            with pytest.raises(RequestError) as caught:
                session.delete("k")
            assert caught.value.status == 403

    def test_rotation(self, place: Place) -> None:
        """Line 27: of two keys with one name, both verify."""
        for key in (KEY, OTHER):
            assert _asked(place, _signed(place, key)).status == 200
            with signing(place.gateway.url, token=SecretKey("main", pem(key))) as client:
                client.session(Usecase(USECASE), **place.scope).put(CONTENT, "k")
        assert _asked(place, _signed(place, STRANGER)).status == 401

    # -- policies and limits -------------------------------------------------------------------

    def test_policies(self, place: Place) -> None:
        """Line 33: a usecase may forbid to keep for ever, or for too long."""
        at = place.path("k", usecase=STRICT)
        for text, status in ((None, 400), ("manual", 400), ("ttl:7d 1s", 400), ("ttl:400d", 400),
                             ("ttl:7d", 200), ("tti:400d", 200)):  # fmt: skip
            headers = {} if text is None else {"x-sn-expiration": text}
            answer = place.ask("PUT", at, headers, b"")
            assert answer.status == status
            assert place.ask("GET", at).status == (404 if status == 400 else 200)
            if status == 400:
                assert in_json(answer)
        strict = place.session_of(Usecase(STRICT, expiration_policy=TimeToLive(timedelta(days=7))))
        strict.put(b"")
        for policy in (timedelta(days=8), timedelta(days=31)):
            with pytest.raises(RequestError) as caught:
                strict.put(b"", expiration_policy=TimeToLive(policy))
            assert caught.value.status == 400

    def test_too_many_requests(self, place: Place) -> None:
        """Line 34: 429, and when to come again; health is as it was."""
        # Each worker counts for itself, and a connection stays with its worker.
        statuses: Counter[int] = Counter()
        for _ in range(100):
            answer = place.ask("GET", place.path("k", usecase=BUSY))
            statuses[answer.status] += 1
            if statuses[429] > place.gateway.workers:
                break
        assert set(statuses) == {404, 429}
        assert 1 <= statuses[404] <= place.gateway.workers
        assert in_text(answer)
        assert int(answer.get("retry-after") or 0) > 0
        assert ask(place.gateway.url, "GET", "/health").status == 200
        assert place.put("k", b"").status == 200  # nobody else suffers

    def test_killswitch(self, place: Place) -> None:
        """Line 34: 403, and health is as it was."""
        for method in ("PUT", "GET", "DELETE"):
            body = b"" if method == "PUT" else None
            answer = place.ask(method, place.path("k", usecase=KILLED), body=body)
            assert (answer.status, bool(in_text(answer))) == (403, True)
        assert ask(place.gateway.url, "GET", "/health").status == 200
        assert place.put("k", b"").status == 200

    # -- whole or not at all -------------------------------------------------------------------

    def test_many_at_once(self, place: Place) -> None:
        """Line 35: a hundred at the same time lose nothing and mix nothing up."""
        options = {"maxsize": 100, "timeout": urllib3.Timeout(connect=PATIENCE_S)}
        together = threading.Barrier(100)

        def there_and_back(number: int) -> bool:
            content = f"{number}-".encode() * 500
            together.wait(PATIENCE_S)
            session.put(content, f"many/{number}")
            return session.get(f"many/{number}").payload.read() == content

        with (
            signing(place.gateway.url, connection_kwargs=options) as client,
            ThreadPoolExecutor(100) as threads,
        ):
            session = client.session(Usecase(USECASE), **place.scope)
            assert [*threads.map(there_and_back, range(100))] == [True] * 100
            again = threads.map(lambda n: session.get(f"many/{n}").payload.read(), range(100))
            assert [*again] == [f"{number}-".encode() * 500 for number in range(100)]

    @pytest.mark.parametrize("size", [1000, 1_500_000])
    def test_broken_uploads(self, place: Place, size: int) -> None:
        """Line 35: what was broken off is never seen, neither before nor afterwards."""
        place.put("old", b"old")
        auth = {"x-os-auth": f"Bearer {place.token()}"}
        for headers, body in (
            ({"Content-Length": str(size + 1)}, bytes(size)),
            ({"Transfer-Encoding": "chunked"}, b"%x\r\n" % (size + 1) + bytes(size)),
            ({"Transfer-Encoding": "chunked"}, b"%x\r\n" % size + bytes(size) + b"\r\n"),
        ):
            for key in ("new", "old"):
                with connected(place.gateway.url) as connection:
                    connection.sendall(head("PUT", place.path(key), {**auth, **headers}) + body)
                    self._nothing_is_seen(place)
        for _ in range(5):
            time.sleep(0.05)
            self._nothing_is_seen(place)

    def test_broken_streams(self, place: Place) -> None:
        """Line 35: a client whose stream fails has stored nothing."""
        place.put("old", b"old")

        class Failing:
            left = 3

            def read(self, _: int) -> bytes:
                self.left -= 1
                if self.left < 0:
                    raise OSError("the disk is gone")
                return bytes(500_000)

        for compression in ("zstd", "none"):
            for key in ("new", "old"):
                with pytest.raises(ObjectSaveException):
                    place.session.put(cast("IO[bytes]", Failing()), key, cast("Any", compression))
        self._nothing_is_seen(place)

    def _nothing_is_seen(self, place: Place) -> None:
        assert place.get("new").status == 404
        answer = place.get("old")
        assert (answer.status, answer.body) == (200, b"old")

    # -- what came later -----------------------------------------------------------------------

    def test_ranges(self, place: Place) -> None:
        """Line 36: some of the stored bytes, 416 for none, all of them for several ranges."""
        place.put("k", b"0123456789")
        for wanted, body, told in (
            ("bytes=0-4", b"01234", "0-4"), ("bytes=7-", b"789", "7-9"), ("bytes=-3", b"789", "7-9")
        ):  # fmt: skip
            answer = place.get("k", Range=wanted)
            assert (answer.status, answer.body) == (206, body)
            assert answer.get("content-range") == f"bytes {told}/10"
            assert answer.get("content-length") == str(len(body))
        answer = place.get("k", Range="bytes=10-")
        assert (answer.status, answer.get("content-range")) == (416, "bytes */10")
        answer = place.get("k", Range="bytes=0-1,5-6")
        assert (answer.status, answer.body) == (200, b"0123456789")
        for wanted in ("lines=0-4", "bytes=4-0", "nonsense"):
            assert place.get("k", Range=wanted).status == 400
        for answer in (place.get("k"), place.head("k")):
            assert answer.get("accept-ranges") == "bytes"

    def test_ranges_of_frames(self, place: Place) -> None:
        """Line 36: ranges are of the stored bytes, compressed or not; the client's too."""
        place.session.put(CONTENT, "k")
        stored = place.get("k").body
        answer = place.get("k", Range="bytes=0-4")
        assert (answer.status, answer.body) == (206, stored[:5])
        assert answer.get("content-range") == f"bytes 0-4/{len(stored)}"
        response = place.session.get("k", begin=1, end=5)
        assert response.payload.read() == stored[1:5]
        assert response.metadata.compression == "zstd"
        with pytest.raises(RequestError) as caught:
            place.session.get("k", begin=len(stored))
        assert caught.value.status == 416

    def test_multipart(self, place: Place) -> None:
        """Line 37: parts become one object; with a wrong one it is 200 and an error."""
        upload = place.session.initiate_multipart_upload(
            key="k", content_type="text/csv", metadata={"a": "b"}
        )
        first = upload.put_part(CONTENT, part_number=1)
        second = upload.put_part(b"the end", part_number=2)
        assert place.get("k").status == 404
        at = f"{place.path('k', kind='objects:multipart:complete')}?upload_id={upload.upload_id}"
        for number, etag in ((2, first.etag), (2, "nonsense"), (3, second.etag)):
            parts = [{"part_number": 1, "etag": first.etag}, {"part_number": number, "etag": etag}]
            answer = place.ask("POST", at, body=json.dumps({"parts": parts}).encode())
            assert (answer.status, set(answer.json)) == (200, {"error"})
            assert answer.json["error"]["code"] == "InvalidPart"
            assert answer.json["error"]["message"]
        with pytest.raises(MultipartCompleteError) as caught:
            upload.complete([first, (2, first.etag)])
        assert (caught.value.status, caught.value.code) == (200, "InvalidPart")
        assert place.get("k").status == 404
        listed = [(part.part_number, part.size) for part in upload.list_parts()]
        assert listed == [(1, len(CONTENT)), (2, 7)]
        assert upload.complete([first, second]) == "k"
        response = place.session.get("k")
        assert response.payload.read() == CONTENT + b"the end"
        assert response.metadata.content_type == "text/csv"
        assert response.metadata.custom == {"a": "b"}

    def test_raw_multipart(self, place: Place) -> None:
        """Line 37: it is spoken as older clients speak it, and each part is checked."""
        started = place.ask("POST", place.path(kind="objects:multipart"))
        assert (started.status, set(started.json)) == (200, {"key", "upload_id"})
        key, query = started.json["key"], f"upload_id={started.json['upload_id']}"
        parts = place.path(key, kind="objects:multipart:parts")
        md5 = {"Content-MD5": base64.b64encode(hashlib.md5(b"one").digest()).decode()}
        sent = place.ask("PUT", f"{parts}?{query}&part_number=1", md5, b"wrong")
        assert sent.status == 400
        sent = place.ask("PUT", f"{parts}?{query}&part_number=1", md5, b"one")
        assert (sent.status, set(sent.json)) == (200, {"etag"})
        for wrong in (f"{query}&part_number=0", "part_number=1"):
            assert place.ask("PUT", f"{parts}?{wrong}", body=b"").status == 400
        listed = place.ask("GET", f"{parts}?{query}").json
        assert [each["part_number"] for each in listed["parts"]] == [1]
        assert listed["is_truncated"] is False
        done = place.ask(
            "POST",
            f"{place.path(key, kind='objects:multipart:complete')}?{query}",
            body=json.dumps({"parts": [{"part_number": 1, "etag": sent.json["etag"]}]}).encode(),
        )
        assert (done.status, done.json["key"]) == (200, key)
        assert place.get(key).body == b"one"

    def test_aborted_multipart(self, place: Place) -> None:
        """Line 37: when it is given up the parts are gone, and the object is what it was."""
        place.put("k", b"old")
        upload = place.session.initiate_multipart_upload(key="k")
        part = upload.put_part(b"new", part_number=1)
        at = f"{place.path('k', kind='objects:multipart')}?upload_id={upload.upload_id}"
        answer = place.ask("DELETE", at)
        assert (answer.status, answer.body) == (204, b"")
        for verb in (
            upload.list_parts,
            lambda: upload.put_part(b"new", part_number=2),
            lambda: upload.complete([part]),
        ):
            with pytest.raises(RequestError) as caught:
                verb()
            assert caught.value.status == 404
        assert place.get("k").body == b"old"

    def test_presigned(self, place: Place) -> None:
        """Line 38: without a token, GET and HEAD of one object, and nothing else."""
        key = "a b/ü%41"
        place.session.put(CONTENT, key, compression="none")
        place.session.put(CONTENT, "other")
        ours = urlsplit(place.session.presigned_object_url("GET", key, timedelta(minutes=5)))
        for target in (f"{ours.path}?{ours.query}", _presigned(place, key)):
            answer = ask(place.gateway.url, "GET", target)
            assert (answer.status, answer.body) == (200, CONTENT)
            assert ask(place.gateway.url, "HEAD", target).status == 204
            for tampered in (
                target.replace("a%20b", "a%20c"), target.replace(quote(key), "other"),
                target.replace("os_duration=300", "os_duration=301"), f"{target}&more=1",
                target.replace("os_sig=", "os_sig=AA"),
            ):  # fmt: skip
                assert tampered != target
                assert ask(place.gateway.url, "GET", tampered).status == 401
            for method in ("PUT", "DELETE", "PATCH"):
                body = None if method == "DELETE" else b""
                assert ask(place.gateway.url, method, target, body=body).status == 403
        assert place.get(key).body == CONTENT

    def test_presigned_for_a_time(self, place: Place) -> None:
        """Line 38: a week at most, from a minute before to its end, and by a key that may read."""
        place.put("k", b"")
        now = datetime.now(UTC)
        for target, status in (
            (_presigned(place, "k", duration=604_800), 200),
            (_presigned(place, "k", duration=604_801), 400),
            (_presigned(place, "k", begin=now - timedelta(seconds=400)), 401),
            (_presigned(place, "k", begin=now + timedelta(seconds=120)), 401),
            (_presigned(place, "k", begin=now + timedelta(seconds=30)), 200),
            (_presigned(place, "k", key=STRANGER), 401),
            (_presigned(place, "k", key=READER, kid="reader"), 200),
            (_presigned(place, "k", key=READER, kid="writer"), 403),
        ):
            answer = ask(place.gateway.url, "GET", target)
            assert answer.status == status, target
        with pytest.raises(ValueError, match="week"):
            place.session.presigned_object_url("GET", "k", timedelta(days=8))

    def test_resumable(self, place: Place) -> None:
        """Line 39: it is begun, and goes on from where it stands; 409 says where that is."""
        at = place.path("k")
        headers = {"upload-length": "10", "x-snme-a": "b"}
        begun = place.ask("PUT", f"{at}?upload_type=resumable", headers, b"")
        assert (begun.status, begun.json["key"]) == (200, "k")
        session = f"{at}?session={begun.json['session']}"
        sent = place.ask("PUT", session, {"upload-offset": "0"}, b"01234")
        assert (sent.status, sent.get("upload-offset")) == (204, "5")
        for offset in ("0", "4", "7"):
            wrong = place.ask("PUT", session, {"upload-offset": offset}, b"567")
            assert (wrong.status, wrong.get("upload-offset")) == (409, "5")
        asked = place.ask("PUT", session, {"upload-offset": "*"}, b"")
        assert (asked.status, asked.get("upload-offset")) == (204, "5")
        assert place.get("k").status == 404
        done = place.ask("PUT", session, {"upload-offset": "5"}, b"56789")
        assert (done.status, done.json["key"]) == (201, "k")
        answer = place.get("k")
        assert (answer.body, answer.get("x-snme-a")) == (b"0123456789", "b")

    def test_resumable_without_a_key(self, place: Place) -> None:
        """Line 39: the server chooses one; what is cancelled is gone, and nothing is stored."""
        collection = f"{place.path()}?upload_type=resumable"
        begun = place.ask("POST", collection, {"upload-length": "3"}, b"").json
        session = f"{place.path(begun['key'])}?session={begun['session']}"
        done = place.ask("PUT", session, {"upload-offset": "0"}, b"abc")
        assert (done.status, place.get(begun["key"]).body) == (201, b"abc")
        other = place.ask("POST", collection, {"upload-length": "3"}, b"").json
        session = f"{place.path(other['key'])}?session={other['session']}"
        assert place.ask("DELETE", session).status == 204
        gone = place.ask("PUT", session, {"upload-offset": "0"}, b"abc")
        assert gone.status in (404, 410)
        assert place.get(other["key"]).status == 404

    def test_resumable_client(self, place: Place) -> None:
        """Line 39: a put of much content goes that way by itself."""
        usecase = Usecase(USECASE, compression="none", resumable_threshold_bytes=1000)
        session = place.session_of(usecase)
        for contents in (CONTENT, io.BytesIO(CONTENT)):
            assert session.put(contents, "k", metadata={"a": "b"}) == "k"
            response = session.get("k")
            assert response.payload.read() == CONTENT
            assert response.metadata.custom == {"a": "b"}
            session.delete("k")

    @pytest.mark.parametrize("kind", ["ttl", "tti"])
    def test_extend(self, place: Place, kind: str) -> None:
        """Line 40: an object lives longer, and never shorter."""
        place.put("k", b"", x_sn_expiration=f"{kind}:1h")
        created = time_of(place.head("k"), "created")
        expires = created + timedelta(hours=1)
        wanted: list[tuple[dict[str, str], timedelta | None]] = [
            ({"after": "2h", "from": "creation"}, timedelta(hours=2)),
            ({"after": "1m", "from": "now"}, None),
            ({"after": "10m", "from": "creation"}, None),
            ({"at": _text(created + timedelta(hours=3))}, timedelta(hours=3)),
            ({"at": "2020-01-01T00:00:00Z"}, None),
        ]
        for extension, after in wanted:
            answer = _extended(place, "k", **extension)
            assert (answer.status, answer.body) == (204, b"")
            expires = expires if after is None else created + after
            assert time_of(place.head("k"), "expires") == expires
        before = datetime.now(UTC)
        place.session.extend_expiry("k", from_now=timedelta(days=1))
        later = time_of(place.head("k"), "expires")
        assert before + timedelta(days=1) <= later <= datetime.now(UTC) + timedelta(days=1)

    def test_no_extension(self, place: Place) -> None:
        """Line 40: 404 for what is not there any more, 409 for what never ends."""
        place.put("ever", b"")
        place.put("dead", b"", x_sn_expiration="ttl:0s")
        place.put("good", b"", x_sn_expiration="ttl:1h")
        for key, status in (("missing", 404), ("dead", 404), ("ever", 409)):
            extension = {"after": "1h", "from": "now"}
            assert _extended(place, key, **extension).status == status
            kind = ObjectNotFound if status == 404 else ExpiryExtensionRejected
            with pytest.raises(kind) as caught:
                place.session.extend_expiry(key, from_now=timedelta(hours=1))
            assert caught.value.status == status
        assert place.get("dead").status == 404
        unknown = _extended(place, "good", after="2h", more="1", **{"from": "now"})
        assert unknown.status == 400
        answer = place.head("good")
        assert time_of(answer, "expires") - time_of(answer, "created") == timedelta(hours=1)


def _outlives(place: Place, name: str, idle: timedelta) -> bool:
    """Read one object again and again, and another one not; False if that was too slow."""
    read, unread = f"{name}/read", f"{name}/unread"
    before = datetime.now(UTC)
    for key in (read, unread):
        place.session.put(CONTENT, key, expiration_policy=TimeToIdle(idle))
    after = datetime.now(UTC)
    least, most = before + idle, after + idle
    first_deadline, methods = most, itertools.cycle(("GET", "HEAD"))
    while datetime.now(UTC) <= first_deadline + idle / 5:
        time.sleep(idle.total_seconds() / 3)  # more than what is too little to be noted
        sent = datetime.now(UTC)
        answer = place.ask(next(methods), place.path(read))
        came = datetime.now(UTC)
        if answer.status == 404:
            assert came >= least, "it has died although it was read"
            return False
        assert answer.get("x-sn-expiration") == f"tti:{idle.seconds}s"
        assert least <= time_of(answer, "expires") <= most, "that is not what held before this read"
        least, most = sent + idle, came + idle
    assert (place.get(unread).status, place.head(unread).status) == (404, 404)
    return True


def _signed(place: Place, key: Ed25519PrivateKey = KEY, kid: str = "main", **claims: Any) -> str:
    """A token, made here by the words of the specification."""
    said = {
        "res": {"os:usecase": USECASE, **place.scope},
        "permissions": ALL,
        "exp": int(time.time()) + 60,
        **claims,
    }
    given = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(given, key, "EdDSA", headers={"kid": kid})


def _asked(place: Place, token: str, method: str = "PUT", at: str = "") -> Answer:
    target = at or place.path("" if method == "POST" else "k")
    body = b"" if method in ("PUT", "POST", "PATCH") else None
    return ask(place.gateway.url, method, target, {"x-os-auth": f"Bearer {token}"}, body)


def _presigned(
    place: Place,
    name: str,
    *,
    duration: int = 300,
    begin: datetime | None = None,
    key: Ed25519PrivateKey = KEY,
    kid: str = "main",
) -> str:
    """The target of a presigned URL, made here by the words of the specification."""
    path = place.path(name)
    given = {
        "os_kid": kid,
        "os_timestamp": (begin or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "os_duration": str(duration),
    }
    pairs = "&".join(sorted(f"{each}={quote(value, safe=':')}" for each, value in given.items()))
    signature = key.sign("\n".join(("GET", path, pairs)).encode())
    return f"{path}?{pairs}&os_sig={base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def _extended(place: Place, key: str, **wanted: str) -> Answer:
    body = json.dumps({"extend_expiry": wanted}).encode()
    return place.ask("PATCH", place.path(key), {"content-type": "application/json"}, body)


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


class TestMemory(Contract):
    @pytest.fixture
    def gateway(self, in_memory: Gateway) -> Gateway:
        return in_memory


class TestFilesystem(Contract):
    @pytest.fixture
    def gateway(self, in_files: Gateway) -> Gateway:
        return in_files


@pytest.mark.one_server
class TestS3(Contract):
    @pytest.fixture
    def gateway(self, in_bucket: Gateway) -> Gateway:
        return in_bucket
