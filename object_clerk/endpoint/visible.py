"""Questions that need objects. A wrong condition or value is sent, and has to be refused."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.digest import Digests
from object_clerk.checksum.etag import bare
from object_clerk.endpoint.answers import NOT_TAKEN, Answer, Support, of_refusal, unclear
from object_clerk.exceptions import ObjectClerkException

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from object_clerk.endpoint.scratch import Scratch

Answers = dict[str, Answer]

_FIRST = b"first"
_SECOND = b"second"
_THIRD = b"third"
#: An ETag that no object has.
_WRONG = f'"{"0" * 32}"'
#: Conditions on what a key holds that do not hold for the object that is there.
_CONDITIONS = {"if_none_match": {"IfNoneMatch": "*"}, "if_match": {"IfMatch": _WRONG}}
#: What is said of Ceph 16, for which the ETag that it gives out itself never matches.
UNQUOTED = "only if the ETag is sent without its quotes"
NEVER_HOLDS = "it refuses one that holds as well"


def ask_all(scratch: Scratch) -> Answers:
    """Ask everything; what goes wrong in one question leaves the others alone.

    Raises:
        ObjectClerkException: not even the first object could be made.
    """
    key = scratch.put("object", _FIRST)
    answers: Answers = {}
    for ask, features in _QUESTIONS:
        try:
            ask(scratch, key, answers)
        except (ObjectClerkException, KeyError) as error:
            for each in features:
                answers.setdefault(each, unclear(error))
    return answers


def _put(scratch: Scratch, key: str, answers: Answers) -> None:
    for feature, condition in _CONDITIONS.items():
        answers[f"put_{feature}"] = scratch.condition("put_object", key, Body=_SECOND, **condition)
    if answers["put_if_match"].support is not Support.HONOURED:
        return
    etag = scratch.etag(key)
    for spelling in (f'"{etag}"', etag):
        held = scratch.condition("put_object", key, Body=_THIRD, IfMatch=spelling)
        if scratch.etag(key) != etag:
            if spelling == etag:
                answers["put_if_match"] = Answer(Support.HONOURED, UNQUOTED)
            return
        answers["put_if_match"] = _without_effect(held)
        if held.support is Support.UNKNOWN:
            return


def _without_effect(held: Answer) -> Answer:
    """What it means that a condition that holds has left the object as it was.

    The object tells, not the answer: an attempt whose answer was lost has changed it, and the
    condition of the next one does not hold any more.
    """
    return held if held.support is Support.UNKNOWN else Answer(Support.REFUSED, NEVER_HOLDS)


def _get(scratch: Scratch, key: str, answers: Answers) -> None:
    answers["get_if_match"] = scratch.condition("get_object", key, IfMatch=_WRONG)


def _checksums(scratch: Scratch, key: str, answers: Answers) -> None:
    other = scratch.key("checksum")
    crc32 = Digests.of([_SECOND]).checksum_crc32
    try:
        scratch.ask(
            "put_object", Key=other, Body=_SECOND, ChecksumAlgorithm="CRC32", ChecksumCRC32=crc32
        )
    except ObjectClerkException as error:
        answers["checksums"] = of_refusal(error)
        return
    returned = _algorithms(scratch.look(other))
    unasked = [f"{name} even if none was sent" for name in _algorithms(scratch.look(key))]
    support = Support.HONOURED if "CRC32" in returned else Support.IGNORED
    answers["checksums"] = Answer(support, ", ".join([*returned, *unasked]))


def _algorithms(head: Mapping[str, Any]) -> list[str]:
    names = (name.removeprefix("Checksum") for name in head if name.startswith("Checksum"))
    return sorted(name for name in names if name != "Type")


def _complete(scratch: Scratch, key: str, answers: Answers) -> None:
    finish = scratch.begin("object", _FIRST)
    for feature, condition in _CONDITIONS.items():
        name, rest = f"complete_{feature}", _without_key(finish)
        answers[name] = scratch.condition("complete_multipart_upload", key, **rest, **condition)
        if answers[name].support is Support.IGNORED:  # that was the end of this upload
            finish = scratch.begin("object", _FIRST)
    answers["object_size"] = _value(
        scratch, finish, {"MpuObjectSize": len(_FIRST) + 1}, {"MpuObjectSize": len(_FIRST)}
    )
    scratch.look(key)


def _full_object(scratch: Scratch, _: str, answers: Answers) -> None:
    kind = {"ChecksumType": "FULL_OBJECT"}
    try:
        finish = scratch.begin("whole", _FIRST, ChecksumAlgorithm="CRC32", **kind)
    except ObjectClerkException as error:
        answers["full_object"] = of_refusal(error)
        return
    wrong, right = (Digests.of([body]).checksum_crc32 for body in (_SECOND, _FIRST))
    answers["full_object"] = _value(
        scratch, finish, {**kind, "ChecksumCRC32": wrong}, {**kind, "ChecksumCRC32": right}
    )


def _value(
    scratch: Scratch, finish: dict[str, Any], wrong: dict[str, Any], right: dict[str, Any]
) -> Answer:
    """Complete an upload with a value that is wrong, with the right one, and at last with none."""
    try:
        scratch.ask("complete_multipart_upload", **finish, **wrong)
    except ObjectClerkException as error:
        if error.status not in (*NOT_TAKEN, 412):
            return unclear(error)
    else:
        return Answer(Support.IGNORED)
    try:
        scratch.ask("complete_multipart_upload", **finish, **right)
    except ObjectClerkException as error:
        found = of_refusal(error)
        scratch.insist("complete_multipart_upload", **finish)
        return found
    return Answer(Support.HONOURED)


def _parts(scratch: Scratch, key: str, answers: Answers) -> None:
    """Ask for a part of what is by now an object of one part."""
    size = answers.get("object_size")
    if size is None or size.support is Support.UNKNOWN:
        answers["part_number"] = Answer(Support.UNKNOWN, "no object of parts could be made")
        return
    found: list[str] = []
    answers["part_number"] = Answer(Support.IGNORED)
    for method, name in (("head_object", "HEAD"), ("get_object", "GET")):
        try:
            answer = scratch.ask(method, Key=key, PartNumber=1)
        except ObjectClerkException as error:
            answers["part_number"] = of_refusal(error)
            continue
        if "Body" in answer:
            answer["Body"].close()
        if answer.get("PartsCount") == 1:
            found.append(name)
    if found:
        answers["part_number"] = Answer(Support.HONOURED, f"by {' and '.join(found)}")


def _copy(scratch: Scratch, key: str, answers: Answers) -> None:
    copy, source = scratch.key("copy"), {"Bucket": scratch.bucket, "Key": key}
    answers["copy_source_if_match"] = scratch.condition(
        "copy_object", copy, CopySource=source, CopySourceIfMatch=_WRONG
    )
    answer = scratch.insist("copy_object", Key=copy, CopySource=source)
    told, kept = answer.get("CopyObjectResult", {}).get("ETag"), scratch.look(copy).get("ETag")
    answers["copy_etag"] = _of_copy(scratch.etag(key), bare(told), bare(kept))
    other = {"Bucket": scratch.bucket, "Key": scratch.put("other", _SECOND)}
    for feature, condition in _CONDITIONS.items():
        answers[f"copy_{feature}"] = scratch.condition(
            "copy_object", copy, CopySource=other, **condition
        )


def _of_copy(source: str | None, told: str | None, kept: str | None) -> Answer:
    if source is None or "-" not in source:
        return Answer(Support.UNKNOWN, "cannot be told: ETags do not show what was sent in parts")
    if source in (told, kept):
        return Answer(Support.IGNORED)
    if told == kept == hashlib.md5(_FIRST, usedforsecurity=False).hexdigest():
        return Answer(Support.HONOURED)
    return Answer(Support.UNKNOWN, "cannot be told: the ETag is neither the source's nor an MD5")


def _delete(scratch: Scratch, _: str, answers: Answers) -> None:
    key = scratch.put("deleted", _FIRST)
    answer = scratch.condition("delete_object", key, IfMatch=_WRONG)
    if answer.support is Support.HONOURED:
        held = scratch.condition("delete_object", key, IfMatch=f'"{scratch.etag(key)}"')
        if scratch.etag(key) is not None:
            answer = _without_effect(held)
    answers["delete_if_match"] = answer


def _without_key(finish: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in finish.items() if name != "Key"}


_QUESTIONS: tuple[tuple[Callable[[Scratch, str, Answers], None], tuple[str, ...]], ...] = (
    (_put, ("put_if_none_match", "put_if_match")),
    (_get, ("get_if_match",)),
    (_checksums, ("checksums",)),
    (_complete, ("complete_if_none_match", "complete_if_match", "object_size")),
    (_parts, ("part_number",)),
    (_copy, ("copy_source_if_match", "copy_etag", "copy_if_none_match", "copy_if_match")),
    (_delete, ("delete_if_match",)),
    (_full_object, ("full_object",)),
)
