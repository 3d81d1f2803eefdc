"""Experiments E9, E10, E18 and E19: uploads whose bytes change, and ETags that say nothing.

What the numbers mean is told in ``test_experiments_reading.py``.
"""

from __future__ import annotations

import contextlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectClerkException,
    ObjectUnverifiable,
    ObjectVerificationException,
    Verdict,
)
from object_clerk.checksum import algorithm, evidence
from object_clerk.endpoint import Support
from object_clerk.exceptions import Failure
from object_clerk.testing import (
    Reply,
    callback,
    error_document,
    flip_request_bit,
    rewrite_response_header,
)
from object_clerk.transfer import upload
from tests.faults.conftest import MIB, PART, Stage, content, scripted
from tests.faults.experiments import (
    XML,
    asked,
    flipped,
    headed,
    keeps_other_bytes,
    md5,
    xml_reply,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from object_clerk import ObjectClerk
    from object_clerk.testing import Request

pytestmark = pytest.mark.usefixtures("counted")

SMALL = content(100_000)
LARGE = content(2 * PART + 1000)
OLD = content(100, "old")
WRONG = flipped(LARGE[PART : 2 * PART], 1000)
SECOND: Any = {"method": "PUT", "query": "partNumber=2"}
CRC64NVME = "x-amz-checksum-crc64nvme"
_NOTHING = b64encode(bytes(8)).decode()
OTHER_MD5 = '"0123456789abcdef0123456789abcdef"'


@pytest.fixture(params=["http", "https"])
def wired(request: pytest.FixtureRequest, stage: Stage) -> Stage:
    """A stage without TLS, where bodies are signed, and one with it, where they are not."""
    if request.param == "http":
        return stage
    secured: Stage = request.getfixturevalue("secure_stage")
    return secured


class TestE09RequestsThatChangeOnTheirWay:
    @pytest.mark.smoke
    def test_e09_put_is_sent_again(self, wired: Stage) -> None:
        """The request is refused or the ETag differs; the bytes are sent again."""
        wired.proxy.add(flip_request_bit(1000, method="PUT"))

        receipt = wired.clerk.upload_object(SMALL, wired.bucket, "key")

        assert wired.stored("key") == SMALL
        assert (receipt.attempts, receipt.verdict) == (2, Verdict.CONTENT)
        assert wired.fired == ["flip_request_bit"]

    @pytest.mark.smoke
    def test_e09_part_is_sent_again(self, wired: Stage) -> None:
        """That part alone."""
        wired.learn()
        wired.proxy.add(flip_request_bit(1000, **SECOND))

        if wired.traits.upload_survives_bad_part:
            receipt = wired.clerk.upload_object(LARGE, wired.bucket, "key")
            assert receipt.attempts == 2
            counts = [len(wired.sent("PUT", "key", f"partNumber={n}")) for n in (1, 2, 3)]
            assert counts == [1, 2, 1]
        else:  # the server may end the whole upload, which is begun anew then
            receipt = wired.clerk.upload_object(LARGE, wired.bucket, "key")
            assert len(wired.sent("POST", "key", "uploads")) in (1, 2)
        assert wired.stored("key") == LARGE
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        assert wired.fired == ["flip_request_bit"]

    def test_e09_body_that_is_not_held_in_memory_is_sent_again(self, wired: Stage) -> None:
        """It is read, and hashed, a second time."""
        data = content(9 * MIB)
        wired.proxy.add(flip_request_bit(-1, method="PUT"))
        clerk = wired.new_clerk(transfer_config={"multipart_threshold": 64 * MIB})

        receipt = clerk.upload_object(data, wired.bucket, "key")

        assert wired.stored("key") == data
        assert receipt.attempts == 2
        assert wired.fired == ["flip_request_bit"]

    @pytest.mark.companion
    def test_e09_without_its_guard_the_changed_byte_is_stored(self, stage: Stage) -> None:
        """No digests are sent or compared."""
        if stage.traits.verifies_signed_sha256:
            pytest.skip("without any digest of ours, this server still checks the signed one")
        stage.proxy.add(flip_request_bit(1000, method="PUT"))

        stage.clerk.upload_object(SMALL, stage.bucket, "key", verify_checksum=False)

        assert stage.stored("key") == flipped(SMALL, 1000)


class TestE10ServersThatStoreOtherBytes:
    @pytest.mark.smoke
    def test_e10_wrong_part_is_sent_again(self, stage: Stage) -> None:
        """Its ETag tells of it, even if no server has checked anything."""
        stage.learn()
        stage.proxy.add(scripted(keeps_other_bytes(stage, WRONG), **SECOND))

        receipt = stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == LARGE
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        assert "scripted" in stage.fired

    @pytest.mark.smoke
    @pytest.mark.parametrize("claims", [None, LARGE[PART : 2 * PART]], ids=["told", "lied about"])
    def test_e10_e18_wrong_part_is_never_published(
        self, stage: Stage, claims: bytes | None
    ) -> None:
        """Caught by its ETag, or in the list of parts: nothing of it ever becomes visible."""
        stage.learn()
        stage.put("key", OLD)
        etag = f'"{md5(claims)}"' if claims else None
        stage.proxy.add(
            scripted(keeps_other_bytes(stage, WRONG, claims=etag), times=None, **SECOND)
        )

        with pytest.raises(ObjectClerkException) as caught:
            stage.clerk.upload_object(LARGE, stage.bucket, "key")

        if stage.traits.part_replaceable:
            assert type(caught.value) is ObjectVerificationException
            assert len(stage.fired) == 3
        assert stage.fired
        assert stage.stored("key") == OLD
        assert stage.sent("POST", "key", "uploadId") == []

    @pytest.mark.smoke
    def test_e10_e18_wrong_object_is_staged(self, stage: Stage) -> None:
        """A single PUT is visible at once: who cannot have that lets it be staged."""
        stage.put("key", OLD)
        wrong = flipped(SMALL, 1000)
        stage.proxy.add(
            scripted(keeps_other_bytes(stage, wrong), method="PUT", path="clerk-stage", times=None)
        )

        with pytest.raises(ObjectVerificationException):
            stage.clerk.upload_object(SMALL, stage.bucket, "key", stage=True)

        assert stage.stored("key") == OLD
        assert [each["Key"] for each in stage.clerk.list_objects(stage.bucket)] == ["key"]
        assert stage.fired == ["scripted"] * 3

    @pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
    def test_e10_crc64nvme_of_the_whole_is_compared_at_complete(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch, right: bool
    ) -> None:
        """Sent where the server was seen to look at it; a wrong one is refused, unseen."""
        clerk = _with_crc64nvme(stage)
        clerk.endpoint.full_object = Support.HONOURED
        stage.put("key", OLD)
        if not right:
            monkeypatch.setattr(algorithm.Algorithm, "combine", lambda *_: bytes(8))
        stage.proxy.add(
            scripted(_compares_the_whole(stage), method="POST", query="uploadId", times=None)
        )

        with contextlib.nullcontext() if right else pytest.raises(ObjectVerificationException):
            clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == (LARGE if right else OLD)
        (*_, complete) = stage.sent("POST", "key", "uploadId")
        assert complete.request_header(CRC64NVME) == (_crc64nvme(LARGE) if right else _NOTHING)
        parts = stage.sent("PUT", "key", "partNumber")
        assert {each.request_header("content-md5") for each in parts} == {None}

    def test_e10_answer_without_the_crc64nvme_is_compared_by_md5(self, stage: Stage) -> None:
        """Somebody who drops the header on its way stores whatever comes."""
        clerk = _with_crc64nvme(stage)
        stage.put("key", OLD)
        stage.proxy.add(scripted(keeps_other_bytes(stage, WRONG), times=None, **SECOND))

        with pytest.raises(ObjectVerificationException, match="MD5"):
            clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == OLD
        assert stage.sent("POST", "key", "uploadId") == []

    def test_e10_server_that_gives_no_crc64nvme_of_the_whole(self, stage: Stage) -> None:
        """The parts were checked, which is TRANSPORT; the next upload is proved by MD5."""
        clerk = _with_crc64nvme(stage)
        stage.proxy.add(rewrite_response_header(CRC64NVME, None, method="HEAD", times=None))

        verdicts = [clerk.upload_object(LARGE, stage.bucket, "key").verdict for _ in range(2)]

        assert verdicts == [Verdict.TRANSPORT, Verdict.CONTENT]
        assert "rewrite_response_header" in stage.fired

    @pytest.mark.parametrize("given", [True, False], ids=["given", "not given"])
    def test_e10_first_upload_shows_whether_a_crc64nvme_is_given(
        self, stage: Stage, given: bool
    ) -> None:
        """It carries an MD5 as well, and is proved by that; only where it is, the next has none."""
        clerk = _with_crc64nvme(stage)
        clerk.endpoint.gives_crc64nvme = None
        if not given:
            stage.proxy.add(rewrite_response_header(CRC64NVME, None, method="HEAD", times=None))

        sent: list[bool] = []
        for _ in range(2):
            before = len(stage.sent("PUT", "key", "partNumber"))
            assert clerk.upload_object(LARGE, stage.bucket, "key").verdict is Verdict.CONTENT
            parts = stage.sent("PUT", "key", "partNumber")[before:]
            (has_md5,) = {each.request_header("content-md5") is not None for each in parts}
            sent.append(has_md5)

        assert sent == [True, not given]
        assert stage.stored("key") == LARGE

    @pytest.mark.companion
    def test_e10_e18_without_its_guard_the_wrong_part_is_published(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The ETags of parts are not compared: what was there is lost before anybody notices."""
        monkeypatch.setattr(upload, "part_stored", lambda *_: True)
        clerk = stage.new_clerk()
        stage.learn(clerk)
        # Or the server would compare them at Complete.
        clerk.endpoint.crc32 = clerk.endpoint.crc64nvme = Support.IGNORED
        stage.put("key", OLD)
        stage.proxy.add(scripted(keeps_other_bytes(stage, WRONG), **SECOND))

        with contextlib.suppress(ObjectVerificationException):
            clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.sent("POST", "key", "uploadId")
        assert stage.stored("key") not in (OLD, LARGE)

    @pytest.mark.companion
    def test_e10_without_its_guard_the_wrong_object_replaces_the_old_one(
        self, stage: Stage
    ) -> None:
        """Not staged."""
        stage.put("key", OLD)
        stage.proxy.add(
            scripted(keeps_other_bytes(stage, flipped(SMALL, 1)), method="PUT", times=None)
        )

        with pytest.raises(ObjectVerificationException):
            stage.clerk.upload_object(SMALL, stage.bucket, "key")

        assert stage.stored("key") != OLD


class TestE18FailuresOverAnOldObject:
    @pytest.mark.smoke
    def test_e18_put_that_changes_every_time(self, stage: Stage) -> None:
        """Nothing bad becomes visible, what was there stays, and no wrapper is raised."""
        stage.put("key", OLD)
        stage.proxy.add(flip_request_bit(1000, method="PUT", times=None))

        with pytest.raises(ObjectVerificationException) as caught:
            stage.clerk.upload_object(SMALL, stage.bucket, "key")

        assert type(caught.value) is ObjectVerificationException
        assert caught.value.attempts == 3
        assert stage.fired == ["flip_request_bit"] * 3
        if stage.traits.verifies_content_md5 or stage.traits.verifies_signed_sha256:
            assert stage.stored("key") == OLD
            assert stage.sent("DELETE") == []
        else:  # this server replaces an object without looking: it is not left wrong
            assert stage.stored("key") is None

    @pytest.mark.smoke
    def test_e18_part_that_changes_every_time(self, stage: Stage) -> None:
        """Nothing becomes visible at all."""
        stage.learn()
        stage.put("key", OLD)
        stage.proxy.add(flip_request_bit(1000, times=None, **SECOND))

        with pytest.raises(ObjectClerkException) as caught:
            stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert type(caught.value) is ObjectVerificationException
        assert stage.fired
        # Where the server ends the whole upload, three are begun.
        assert len(stage.fired) <= (3 if stage.traits.upload_survives_bad_part else 9)
        assert stage.stored("key") == OLD
        assert stage.sent("POST", "key", "uploadId") == []

    def test_e18_what_somebody_else_stored_is_not_deleted(self, stage: Stage) -> None:
        """What another writer stored right after us is not ours to take back."""
        stage.put("key", OLD)
        theirs = content(len(SMALL), "theirs")
        stage.proxy.add(
            rewrite_response_header("ETag", '"opaque"', method="PUT", times=None),
            callback(lambda: stage.put("key", theirs), method="HEAD", times=None),
        )

        with pytest.raises(ObjectVerificationException, match="not what was sent"):
            stage.clerk.upload_object(SMALL, stage.bucket, "key")

        assert stage.stored("key") == theirs
        assert stage.sent("DELETE") == []
        assert "callback" in stage.fired


def _with_crc64nvme(stage: Stage) -> ObjectClerk:
    """A clerk, where the server checks CRC64NVME and it can be computed here."""
    clerk = stage.new_clerk()
    stage.learn(clerk)
    if clerk.endpoint.crc64nvme is not Support.HONOURED:
        pytest.skip("this server checks no CRC64NVME, or awscrt is missing")
    clerk.endpoint.gives_crc64nvme = True
    return clerk


def _compares_the_whole(stage: Stage) -> Callable[[Request], Reply]:
    """A server that compares the CRC64NVME of the whole before it puts an upload together."""

    def answer(request: Request) -> Reply:
        if request.header(CRC64NVME) != _crc64nvme(LARGE):
            return Reply(400, error_document("BadDigest"), XML)
        where: Any = {"Bucket": stage.bucket, "Key": "key", "UploadId": asked(request, "uploadId")}
        parts: list[Any] = [
            {name: part[name] for name in ("PartNumber", "ETag", "ChecksumCRC64NVME")}
            for part in stage.s3.list_parts(**where)["Parts"]
        ]
        done = stage.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
        return xml_reply("CompleteMultipartUploadResult", ETag=done["ETag"])

    return answer


def _crc64nvme(data: bytes) -> str:
    state = algorithm.CRC64NVME.new()
    assert state is not None
    state.update(data)
    return b64encode(state.digest()).decode()


def _keeps_checksums(stage: Stage) -> bool:
    """Whether a CRC32 stands in for an ETag that says nothing."""
    return stage.traits.verifies_checksum_header and stage.traits.returns_checksum


def _without_etag(stage: Stage) -> Verdict:
    """What an upload is worth whose ETag says nothing."""
    if _keeps_checksums(stage) or not stage.traits.verifies_content_md5:
        return Verdict.CONTENT
    return Verdict.TRANSPORT


def _encrypted(headers: Mapping[str, str]) -> Mapping[str, str]:
    """An ETag that looks like an MD5 and is none, as SSE-KMS has them."""
    if "etag" not in headers:
        return {}
    digest, _, count = headers["etag"].strip('"').partition("-")
    etag = f'"{md5(digest.encode())}{"-" if count else ""}{count}"'
    return {"ETag": etag, "x-amz-server-side-encryption": "aws:kms"}


class TestE19EtagsThatAreNoMd5:
    @pytest.mark.smoke
    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["at once", "in parts"])
    def test_e19_encrypted_object(self, stage: Stage, data: bytes) -> None:
        """Uploaded on other evidence, in one attempt; nothing is ever deleted."""
        clerk = stage.new_clerk()
        stage.learn(clerk)
        stage.put("key", OLD)
        whole: Any = {"when": lambda request: "uploadId" not in request.query}
        stage.proxy.add(headed(_encrypted, path="/key", **whole))

        receipt = clerk.upload_object(data, stage.bucket, "key")

        assert stage.stored("key") == data
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        assert receipt.attempts == 1
        assert stage.sent("DELETE") == []
        assert set(stage.fired) == {"headed"}
        assert clerk.endpoint.etag_is_md5, "encryption says nothing of objects without it"

    @pytest.mark.smoke
    def test_e19_another_md5_is_settled_by_reading_back(self, stage: Stage) -> None:
        """An ETag that is the MD5 of something else condemns nothing by itself."""
        clerk = stage.new_clerk()
        stage.learn(clerk)
        stage.proxy.add(rewrite_response_header("ETag", OTHER_MD5, path="/key", times=None))

        receipt = clerk.upload_object(SMALL, stage.bucket, "key")

        assert stage.stored("key") == SMALL
        assert receipt.verdict is Verdict.CONTENT
        assert ("ChecksumCRC32" if _keeps_checksums(stage) else "read back") in receipt.basis
        assert receipt.attempts == 1
        assert stage.sent("DELETE") == []
        assert set(stage.fired) == {"rewrite_response_header"}
        assert not clerk.endpoint.etag_is_md5

    @pytest.mark.smoke
    def test_e19_no_md5_at_all_leaves_the_transport_as_proof(self, stage: Stage) -> None:
        """The upload stands on Content-MD5; reading it with verification is refused.

        Where the server was seen to ignore Content-MD5, the upload is read back instead.
        """
        clerk = stage.new_clerk()
        stage.learn(clerk)
        stage.put("key", OLD)
        stage.proxy.add(rewrite_response_header("ETag", '"opaque"', path="/key", times=None))

        receipt = clerk.upload_object(SMALL, stage.bucket, "key")

        assert stage.stored("key") == SMALL
        assert (receipt.verdict, receipt.attempts) == (_without_etag(stage), 1)
        assert stage.sent("DELETE") == []
        if _keeps_checksums(stage):
            assert clerk.get_object(stage.bucket, "key") == SMALL
        else:
            with pytest.raises(ObjectUnverifiable):
                clerk.get_object(stage.bucket, "key")
        # From now on it is known that the ETag says nothing: a record is written.
        clerk.upload_object(SMALL, stage.bucket, "key")
        assert clerk.get_object(stage.bucket, "key") == SMALL
        assert stage.receipt.verdict is Verdict.CONTENT
        assert set(stage.fired) == {"rewrite_response_header"}

    def test_e19_object_of_parts_without_an_md5(self, stage: Stage) -> None:
        """The same for an upload in parts."""
        stage.proxy.add(
            rewrite_response_header("ETag", '"opaque"', path="/key", method="HEAD", times=None)
        )

        receipt = stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == LARGE
        assert receipt.verdict is _without_etag(stage)
        assert stage.fired == ["rewrite_response_header"]

    def test_e19_object_of_parts_with_another_md5(self, stage: Stage) -> None:
        """Read back too, unless the answer to Complete had the right ETag."""
        stage.proxy.add(
            rewrite_response_header("ETag", OTHER_MD5, path="/key", method="HEAD", times=None)
        )

        receipt = stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == LARGE
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        assert receipt.attempts == 1
        assert stage.fired == ["rewrite_response_header"]

    @pytest.mark.companion
    def test_e19_without_its_guard_a_healthy_object_is_refused(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An ETag is taken for an MD5, and what differs from it for damage."""

        def condemned(*_: object) -> None:
            raise ObjectVerificationException("its ETag differs", failure=Failure.INTEGRITY)

        monkeypatch.setattr(evidence, "etag_may_differ", lambda _: False)
        monkeypatch.setattr(upload.Upload, "read_back", condemned)
        clerk = stage.new_clerk()
        stage.proxy.add(headed(_encrypted, path="/key"))

        with pytest.raises(ObjectVerificationException) as caught:
            clerk.upload_object(SMALL, stage.bucket, "key")

        assert caught.value.attempts == 3
        assert len(stage.sent("PUT", "key")) == 3
