"""What uploads write about themselves into metadata, and what is believed of it."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_clerk.checksum.algorithm import MD5, SHA256
from object_clerk.checksum.record import (
    Record,
    moved_to,
    new_tx,
    tombstone,
    without_record,
)

DATA = b"the bytes of an object"
SIZE = len(DATA)
TX = "0123456789abcdef" * 2
MD5_HEX = hashlib.md5(DATA).hexdigest()
SHA256_HEX = hashlib.sha256(DATA).hexdigest()
MD5_BASE64 = base64.b64encode(hashlib.md5(DATA).digest()).decode()


def answer(size: int | None = SIZE, /, **metadata: str) -> dict[str, Any]:
    """A HEAD answer; underscores stand for hyphens."""
    found = {name.replace("_", "-"): value for name, value in metadata.items()}
    return {"ContentLength": size, "Metadata": found}


def test_every_upload_has_a_name_of_its_own() -> None:
    names = {new_tx() for _ in range(100)}

    assert len(names) == 100
    assert all(Record.of(answer(clerk_tx=name)).tx == name for name in names)


@given(
    tx=st.none() | st.just(TX),
    size=st.none() | st.integers(0, 10**18 - 1),
    part_size=st.none() | st.integers(1, 10**18 - 1),
    digests=st.fixed_dictionaries(
        {},
        optional={
            MD5: st.binary(min_size=16, max_size=16),
            SHA256: st.binary(min_size=32, max_size=32),
        },
    ),
)
def test_what_is_written_is_read(
    tx: str | None, size: int | None, part_size: int | None, digests: Any
) -> None:
    record = Record(tx, size, part_size, digests)

    assert Record.of({"ContentLength": size, "Metadata": record.metadata()}) == record


def test_names_that_are_written() -> None:
    """Other programs, and other versions of this one, read these names."""
    record = Record(TX, SIZE, 5, {MD5: bytes.fromhex(MD5_HEX), SHA256: bytes.fromhex(SHA256_HEX)})

    assert record.metadata() == {
        "clerk-tx": TX,
        "clerk-size": str(SIZE),
        "clerk-part": "5",
        "clerk-md5": MD5_HEX,
        "clerk-sha256": SHA256_HEX,
    }
    assert Record().metadata() == {}
    assert Record(size=0).metadata() == {"clerk-size": "0"}


@pytest.mark.parametrize("nothing", [{}, {"Metadata": {}}, {"Metadata": None}])
def test_without_metadata(nothing: dict[str, Any]) -> None:
    assert Record.of(nothing) == Record()


def test_names_count_in_any_case() -> None:
    """Some stores capitalise them."""
    found = Record.of(answer(Clerk_Tx=TX, CLERK_SIZE=str(SIZE), Clerk_part="7", Clerk_MD5=MD5_HEX))

    assert found == Record(TX, SIZE, 7, {MD5: bytes.fromhex(MD5_HEX)})


class TestOfOtherBytes:
    """Metadata that somebody has carried over to new content."""

    @pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, None])
    def test_only_the_name_of_the_upload_is_left(self, size: int | None) -> None:
        found = Record.of(
            answer(
                size,
                clerk_tx=TX,
                clerk_size=str(SIZE),
                clerk_part="5",
                clerk_md5=MD5_HEX,
                clerk_sha256=SHA256_HEX,
                md5chksum=MD5_BASE64,
            )
        )

        assert found == Record(TX, SIZE)

    def test_the_right_size_keeps_everything(self) -> None:
        found = Record.of(answer(clerk_size=str(SIZE), clerk_part="5", clerk_md5=MD5_HEX))

        assert found == Record(None, SIZE, 5, {MD5: bytes.fromhex(MD5_HEX)})

    def test_a_record_without_a_size_cannot_be_told(self) -> None:
        assert Record.of(answer(clerk_part="5")).part_size == 5

    def test_an_empty_object_has_a_size(self) -> None:
        assert Record.of(answer(0, clerk_size="0", clerk_md5=MD5_HEX)).digests
        assert not Record.of(answer(1, clerk_size="0", clerk_md5=MD5_HEX)).digests


class TestNonsense:
    @pytest.mark.parametrize("tx", ["", "x", TX[:-1], TX + "0", TX.upper(), f"{TX}\n", f" {TX}"])
    def test_tx(self, tx: str) -> None:
        assert Record.of(answer(clerk_tx=tx)).tx is None

    @pytest.mark.parametrize("number", ["", "-1", "1.5", "x", "1e3", " 1", "1\n", "9" * 19, "٣"])
    def test_numbers(self, number: str) -> None:
        found = Record.of(answer(clerk_size=number, clerk_part=number))

        assert (found.size, found.part_size) == (None, None)

    def test_longest_number(self) -> None:
        assert Record.of(answer(clerk_part="9" * 18)).part_size == 10**18 - 1

    @pytest.mark.parametrize("number", ["0", "000"])
    def test_parts_of_nothing(self, number: str) -> None:
        assert Record.of(answer(clerk_part=number)).part_size is None

    @pytest.mark.parametrize(
        "digest",
        ["", MD5_HEX[:-1], MD5_HEX + "0", MD5_HEX.upper(), f"{MD5_HEX}\n", "g" * 32, SHA256_HEX],
    )
    def test_md5(self, digest: str) -> None:
        assert Record.of(answer(clerk_md5=digest)).digests == {}

    @pytest.mark.parametrize("digest", ["", SHA256_HEX[:-1], SHA256_HEX + "0", MD5_HEX])
    def test_sha256(self, digest: str) -> None:
        assert Record.of(answer(clerk_sha256=digest)).digests == {}

    def test_other_algorithms(self) -> None:
        assert Record.of(answer(clerk_crc32="cbf43926", clerk_sha1="0" * 40)).digests == {}


class TestOfRclone:
    """Its record of the MD5, in base64 (rclone, "S3: Integrity")."""

    @pytest.mark.parametrize("name", ["md5chksum", "Md5chksum", "MD5CHKSUM"])
    def test_in_any_case(self, name: str) -> None:
        found = Record.of(answer(**{name: MD5_BASE64}))

        assert found == Record(digests={MD5: bytes.fromhex(MD5_HEX)})

    @pytest.mark.parametrize(
        "text",
        [
            "",
            MD5_BASE64[:-1],
            f" {MD5_BASE64}",
            MD5_HEX,
            "=" * 24,
            "!" * 24,
            "ü" * 24,
            base64.b64encode(bytes(15)).decode(),
            base64.b64encode(bytes(17)).decode(),
        ],
    )
    def test_nonsense(self, text: str) -> None:
        assert Record.of(answer(md5chksum=text)).digests == {}

    def test_ours_comes_first(self) -> None:
        other = base64.b64encode(bytes(16)).decode()
        found = Record.of(answer(clerk_md5=MD5_HEX, md5chksum=other))

        assert found.digests == {MD5: bytes.fromhex(MD5_HEX)}

    def test_both_kinds_are_kept(self) -> None:
        found = Record.of(answer(clerk_sha256=SHA256_HEX, md5chksum=MD5_BASE64))

        assert found.digests == {
            SHA256: bytes.fromhex(SHA256_HEX),
            MD5: bytes.fromhex(MD5_HEX),
        }


class TestTombstone:
    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
    def test_tells_where_the_object_went(self, target: str) -> None:
        written = tombstone(TX, target)

        assert moved_to({"ContentLength": 0, "Metadata": written}) == target
        assert Record.of({"ContentLength": 0, "Metadata": written}).tx == TX
        assert all(value.isascii() for value in written.values())

    @pytest.mark.parametrize("size", [1, None])
    def test_bytes_are_never_a_tombstone(self, size: int | None) -> None:
        """Somebody may have written the key again, and carried the metadata over."""
        assert moved_to({"ContentLength": size, "Metadata": tombstone(TX, "b/k")}) is None

    @pytest.mark.parametrize(
        "metadata", [None, {}, {"clerk-tx": TX}, {"clerk-moved-to": ""}, {"moved-to": "b/k"}]
    )
    def test_an_empty_object_is_none(self, metadata: Any) -> None:
        assert moved_to({"ContentLength": 0, "Metadata": metadata}) is None

    def test_in_any_case(self) -> None:
        assert moved_to(answer(0, Clerk_Moved_To="b/k")) == "b/k"


def test_new_bytes_do_not_inherit_the_record() -> None:
    metadata = {
        "clerk-tx": TX,
        "Clerk-Size": "1",
        "clerk-moved-to": "x",
        "Clerkship": "mine",
        "a-clerk-b": "mine",
    }

    assert without_record(metadata) == {"Clerkship": "mine", "a-clerk-b": "mine"}
