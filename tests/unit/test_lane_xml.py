"""Answers in XML: what botocore reads from a document, the lane reads from it, or refuses it."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.model import ShapeResolver
from botocore.parsers import ResponseParserError, create_parser
from hypothesis import example, given
from hypothesis import strategies as st

from object_clerk.lane import xml
from object_clerk.lane.xml import ErrorBody, NotXml, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.model import ListShape, Shape, StructureShape

OPERATIONS = (
    "ListObjectsV2", "ListParts", "CopyObject", "UploadPartCopy", "CreateMultipartUpload",
    "CompleteMultipartUpload", "GetObjectTagging", "ListMultipartUploads", "ListObjectVersions",
)  # fmt: skip
MODEL = botocore.session.get_session().get_service_model("s3")
BOTOCORE = create_parser("rest-xml")
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def _shape(operation: str) -> StructureShape:
    return cast("StructureShape", MODEL.operation_model(operation).output_shape)


LISTING = _shape("ListObjectsV2")


def _botocore(body: bytes, shape: Shape) -> dict[str, Any]:
    answer = {"status_code": 200, "headers": {}, "body": body}
    parsed = cast("dict[str, Any]", BOTOCORE.parse(answer, shape))
    del parsed["ResponseMetadata"]
    return parsed


def _same(body: bytes, shape: Shape) -> None:
    """Both read the same, or both refuse it.

    Only we refuse what is there twice, and only we let white space before the declaration pass.
    """
    theirs: dict[str, Any] | None
    try:
        theirs = _botocore(body.lstrip(b" \t\r\n") or body, shape)
    except (ResponseParserError, ValueError, TypeError, RuntimeError):
        theirs = None
    if theirs is None or _has_twice(body):
        with pytest.raises(NotXml):
            parse(body, shape)
    else:
        assert parse(body, shape) == theirs


def _has_twice(body: bytes) -> bool:
    """Whether the listing has an element twice that is neither list nor structure."""
    scalars = {name for name, member in LISTING.members.items() if _is_scalar(member)}
    in_block = {"Key", "LastModified", "ETag", "ChecksumType", "Size", "StorageClass"}
    in_inner = {"DisplayName", "ID", "IsRestoreInProgress", "RestoreExpiryDate"}
    try:
        root = ET.fromstring(body, ET.XMLParser(encoding="utf-8"))
    except ET.ParseError:
        return False
    blocks = [node for node in root if _local(node) == "Contents"]
    inner = [first for node in blocks for first in _firsts(node, ("Owner", "RestoreStatus"))]
    prefixes = [node for node in root if _local(node) == "CommonPrefixes"]
    return (
        _repeats(root, scalars)
        or any(_repeats(node, in_block) for node in blocks)
        or any(_repeats(node, in_inner) for node in inner)
        or any(_repeats(node, {"Prefix"}) for node in prefixes)
    )


def _firsts(node: ET.Element, names: tuple[str, ...]) -> list[ET.Element]:
    return [child for child in node if _local(child) in names]


def _repeats(node: ET.Element, names: set[str]) -> bool:
    there = [_local(child) for child in node if _local(child) in names]
    return len(set(there)) < len(there)


def _local(node: ET.Element) -> str:
    return node.tag.rpartition("}")[2]


def _is_scalar(shape: Shape) -> bool:
    return "location" not in shape.serialization and shape.type_name not in ("list", "structure")


# ---- documents of a shape ------------------------------------------------------------------------

_XML_CHARACTERS = st.characters(
    min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"
)
_LETTERS = st.text(_XML_CHARACTERS | st.sampled_from("\t\n\r<>&'\"]"), max_size=8)


def _in_xml(text: str) -> st.SearchStrategy[str]:
    """A text, in the ways that XML has to write it."""
    plain = escape(text, {"\r": "&#13;"})
    ways = [plain, plain.replace('"', "&quot;"), "".join(f"&#{ord(c)};" for c in text)]
    if "]]>" not in text and "\r" not in text:
        ways.append(f"<![CDATA[{text}]]>")
    return st.sampled_from([*ways, f"{plain}<!-- <Key>no</Key> -->", f"<?Key no?>{plain}"])


_TIMES = st.one_of(
    st.datetimes(min_value=datetime.datetime(1, 1, 1)).map(
        lambda t: t.isoformat(timespec="milliseconds") + "Z"
    ),
    st.datetimes().map(lambda t: t.isoformat()),
    st.datetimes().map(lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)),
    st.sampled_from([
        "1700000000", "1700000000.5", "Sat, 21 Nov 2026 00:00:00 GMT", "2026-11-21",
        "2026-11-21T01:02:03+05:30", "2026-11-21T01:02:03.123456789Z", "20261121T010203Z",
    ]),
)  # fmt: skip
_VALUES: dict[str, st.SearchStrategy[str]] = {
    "string": _LETTERS,
    "integer": st.integers().map(str) | st.sampled_from([" 7 ", "1_000", "\u0667", "+7"]),
    "long": st.integers(min_value=0, max_value=2**63).map(str),
    "boolean": st.sampled_from(["true", "false", "True", "", " true"]),
    "timestamp": _TIMES,
}
_JUNK = st.sampled_from([
    "", "", "", "\n  ", "text", "<!-- a comment -->", "<?an instruction?>", "<Unknown/>",
    '<Type xmlns="">Normal</Type>', "<Other><Key>of another</Key><Prefix/></Other>",
])  # fmt: skip


@st.composite
def _element(draw: st.DrawFn, shape: Shape, name: str) -> str:
    attributes = draw(st.sampled_from(["", "", ' a="1 &gt; 0"', " xmlns:x='urn:x' x:Key='a'"]))
    return f"<{name}{attributes}>{draw(_content(shape))}</{name}>"


@st.composite
def _content(draw: st.DrawFn, shape: Shape) -> str:
    if shape.type_name == "structure":
        return draw(_children(cast("StructureShape", shape)))
    if shape.type_name == "list":
        member = cast("ListShape", shape).member
        name = member.serialization.get("name", "member")
        return "".join(draw(st.lists(_element(member, name), max_size=3)))
    return draw(_VALUES[shape.type_name].flatmap(_in_xml))


@st.composite
def _children(draw: st.DrawFn, shape: StructureShape) -> str:
    """Some members in any order, lists not in one piece, and things that do not belong there."""
    elements: list[str] = []
    for name, member in shape.members.items():
        if "location" in member.serialization or not draw(st.booleans()):
            continue
        xml_name, most = member.serialization.get("name", name), 1
        if member.type_name == "list" and member.serialization.get("flattened"):
            most, member = 3, cast("ListShape", member).member
            xml_name = member.serialization.get("name", xml_name)
        elements += draw(st.lists(_element(member, xml_name), min_size=1, max_size=most))
    junk = st.lists(_JUNK, min_size=len(elements) + 1, max_size=len(elements) + 1)
    between = draw(junk)
    shuffled = draw(st.permutations(elements))
    return between[0] + "".join(map("".join, zip(shuffled, between[1:], strict=True)))


@st.composite
def _documents(draw: st.DrawFn) -> tuple[str, bytes]:
    operation = draw(st.sampled_from(OPERATIONS))
    shape = _shape(operation)
    payload = shape.serialization.get("payload")
    content = draw(_children(cast("StructureShape", shape.members[payload]) if payload else shape))
    start = draw(st.sampled_from(["", "\ufeff", DECLARATION, DECLARATION + "\n\n<!-- - -->"]))
    root = draw(st.sampled_from(["Result", f'Result xmlns="{NAMESPACE}"']))
    return operation, f"{start}<{root}>{content}</Result>\n".encode()


@given(_documents())
def test_documents(case: tuple[str, bytes]) -> None:
    operation, body = case

    assert parse(body, _shape(operation)) == _botocore(body, _shape(operation))


# ---- large listings ------------------------------------------------------------------------------


def _block(number: int, **changes: str) -> str:
    fields = {
        "Key": f"key-{number:05}.bin",
        "LastModified": f"2026-11-21T00:{number // 60 % 60:02}:{number % 60:02}.000Z",
        "ETag": f"&quot;{number:032x}&quot;",
        "Size": str(number),
        "StorageClass": "STANDARD",
    } | changes
    return f"<Contents>{''.join(f'<{name}>{fields[name]}</{name}>' for name in fields)}</Contents>"


def _page(content: str, after: str = "", before: str = "") -> bytes:
    return (
        f'{DECLARATION}<ListBucketResult xmlns="{NAMESPACE}"><Name>list</Name><Prefix></Prefix>'
        f"<KeyCount>1000</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated>{before}"
        f"{content}{after}</ListBucketResult>"
    ).encode()


@pytest.fixture
def trees(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The documents of which a tree was made."""
    made: list[bytes] = []
    tree: Callable[[bytes], ET.Element] = xml._tree

    def record(body: bytes) -> ET.Element:
        made.append(body)
        return tree(body)

    monkeypatch.setattr(xml, "_tree", record)
    return made


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ETag": '"0123456789abcdef0123456789abcdef-2"'},
        {"LastModified": "2026-11-21T12:34:56Z"},
        {"Type": "Normal"},
        {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"},
        {"Key": "ключ 鍵 \U0001f511 ' \" ] \x7f\x85\u2028", "StorageClass": ""},
        {"Size": " 1_000 "},
    ],
)
def test_plain_blocks_need_no_tree(changes: dict[str, str], trees: list[bytes]) -> None:
    body = _page("".join(_block(number, **changes) for number in range(1000)))

    parsed = parse(body, LISTING)

    assert parsed == _botocore(body, LISTING)
    assert len(parsed["Contents"]) == 1000
    assert [b"Key>" in tree for tree in trees] == [False]


def test_blocks_of_many_elements_need_the_tree(trees: list[bytes]) -> None:
    """So that no server makes the lane keep long patterns."""
    body = _page(_block(1, **{f"X{number}": "" for number in range(20)}))

    assert parse(body, LISTING) == _botocore(body, LISTING)
    assert trees == [body]


_OTHER = '<Contents xmlns="urn:other"/>'
_RUN = _block(1) + _block(2)
NOT_PLAIN = {
    "entity": _page(_block(1) + _block(2, Key="a&amp;b")),
    "character": _page(_block(1, Key="a&#13;b&#x10FFFF;") + _block(2)),
    "entity of an entity": _page(_block(1, Key="&amp;quot;") + _block(2)),
    "cdata": _page(_block(1) + _block(2, Key="<![CDATA[a<b>&amp;]]>")),
    "blocks in cdata": _page("", before=f"<Delimiter><![CDATA[{_RUN}]]></Delimiter>"),
    "blocks in a comment": _page("", before=f"<!-- {_RUN}-->"),
    "all in a comment": _page(f"<!--{_RUN}-->"),
    "all in an instruction": _page(f"<?x {_RUN}?>"),
    "all in another element": _page(f"<Other>{_RUN}</Other>"),
    "all in another, one is elsewhere": _page(f"<Other>{_RUN}</Other>", before=_OTHER),
    "all in another, one is after": _page(f"<Other>{_RUN}</Other>", after=_OTHER),
    "all in text": _page(f"<Name>{_RUN}</Name>"),
    "one deeper": _page(f"{_block(1)}<Other>{_block(2)}</Other>{_block(3)}"),
    "comment in a key": _page(_block(1) + _block(2, Key="a<!-- - -->b")),
    "comment between": _page(f"{_block(1)}<!-- -->{_block(2)}"),
    "text between": _page(f"{_block(1)}text{_block(2)}"),
    "lines between": _page(f"{_block(1)}\n{_block(2)}\n"),
    "lines in a block": _page(_RUN.replace("<Size>", "\n<Size>")),
    "carriage return": _page(_block(1) + _block(2, Key="a\r\nb")),
    "tab": _page(_block(1) + _block(2, Key="a\tb")),
    "prefixes between": _page(
        f"{_block(1)}<CommonPrefixes><Prefix>a</Prefix></CommonPrefixes>{_block(2)}"
    ),
    "other order": _page(_block(1) + "<Contents><Size>3</Size><Key>a</Key></Contents>"),
    "missing fields": _page(_block(1) + "<Contents><Key>a</Key></Contents>" + _block(3)),
    "empty block": _page(_block(1) + "<Contents/>"),
    "empty block first": _page("<Contents></Contents>" + _block(1)),
    "only empty": _page("<Contents></Contents><Contents></Contents>"),
    "one empty": _page("<Contents></Contents>"),
    "empty fields": _page(_block(1) + "<Contents><Key/><ETag/><StorageClass/></Contents>"),
    "empty number": _page(_block(1, Size="") + _block(2)),
    "no number": _page(_block(1) + _block(2, Size="12x")),
    "infinite number": _page(_block(1) + _block(2, Size="9" * 5000)),
    "empty time": _page(_block(1) + _block(2, LastModified="")),
    "epoch": _page(_block(1, LastModified="1700000000") + _block(2)),
    "http time": _page(_block(1) + _block(2, LastModified="Sat, 21 Nov 2026 00:00:00 GMT")),
    "no zone": _page(_block(1, LastModified="2026-11-21T00:00:00") + _block(2)),
    "february": _page(_block(1) + _block(2, LastModified="2026-02-30T00:00:00.000Z")),
    "thirteenth month": _page(_block(1) + _block(2, LastModified="2026-13-01T00:00:00Z")),
    "leap second": _page(_block(1) + _block(2, LastModified="2016-12-31T23:59:60Z")),
    "hour 24": _page(_block(1) + _block(2, LastModified="2016-12-31T24:00:00Z")),
    "week": _page(_block(1, LastModified="2026-W01-1") + _block(2)),
    "no time": _page(_block(1) + _block(2, LastModified="never")),
    "time beyond": _page(_block(1) + _block(2, LastModified="1e300")),
    "other digits": _page(_block(1) + _block(2, LastModified="\uff12026-11-21T00:00:00.000Z")),
    "attribute": _page(_block(1) + _block(2).replace("<Key>", '<Key a="b">')),
    "attribute of a block": _page(_block(1) + _block(2).replace("<Contents>", '<Contents a="b">')),
    "space in tags": _page(_block(1) + _block(2).replace("Key>", "Key >")),
    "prefix of a namespace": _page(
        _RUN.replace("Contents>", "s3:Contents>").replace("<s3:Contents>", "<s3:Contents >", 1)
    ).replace(b"<ListBucketResult", b'<ListBucketResult xmlns:s3="urn:s3"'),
    "prefix without a namespace": _page(_block(1) + _block(2).replace("Key>", "s3:Key>")),
    "some in a namespace": _page(_block(1) + _block(2).replace("<Key>", '<Key xmlns="urn:x">')),
    "nested": _page(_block(1) + _block(2, Key="a<Key>b</Key>c")),
    "nested first": _page(_block(1, Key="<Key>b</Key>c") + _block(2)),
    "nested block": _page(_block(1, Key=_block(3)) + _block(2)),
    "owner": _page(_block(1, Owner="<ID>a</ID><DisplayName>b</DisplayName>") + _block(2)),
    "owner of text": _page(_block(1, Owner="a") + _block(2, Owner="a")),
    "two owners": _page(_block(1, Owner="<ID>a</ID></Owner><Owner><ID>b</ID>") + _block(2)),
    "key twice": _page(_block(1, Key="a</Key><Key>b") + _block(2, Key="a</Key><Key>b")),
    "name twice": _page(_RUN, after="<Name>other</Name>"),
    "truncated twice": _page(_RUN, after="<IsTruncated>false</IsTruncated>"),
    "algorithms": _page(
        _block(1, ChecksumAlgorithm="CRC32</ChecksumAlgorithm><ChecksumAlgorithm>SHA256")
    ),
    "number as a name": _page(_block(1, **{"1": ""}) + _block(2, **{"1": ""})),
    "end of cdata": _page(_block(1) + _block(2, Key="a]]>b")),
    "greater than": _page(_block(1) + _block(2, Key="a>b")),
    "bare ampersand": _page(_block(1) + _block(2, Key="a&b")),
    "unknown entity": _page(_block(1) + _block(2, Key="&nbsp;")),
    "control character": _page(_block(1) + _block(2, Key="a\x01b")),
    "null": _page(_block(1) + _block(2, Key="a\0b")),
    "no character": _page(_block(1) + _block(2, Key="a\ufffeb")),
    "no character either": _page(_block(1) + _block(2, Key="a\uffffb")),
    "not utf-8": _page(_block(1) + _block(2, Key="?")).replace(b"?</Key>", b"\xff</Key>"),
    "surrogate": _page(_block(1) + _block(2, Key="?")).replace(b"?</", b"\xed\xa0\x80</"),
    "not closed": _page(_RUN)[:-30],
    "half a block": _page(_RUN + "<Contents><Key>a"),
    "half a tag": _page(_RUN)[:-3],
    "two roots": _page(_RUN) + _page(_RUN),
    "text after": _page(_RUN) + b"text",
    "quote in an attribute": _page(_RUN, before="<Other a=&quot;1&quot;/>"),
    "wrong end": _page(_RUN, after="</Contents>"),
    "wrong end before": _page(_RUN, before="</Contents>"),
    "crossed": _page("<Contents><Key>a</Contents></Key><Contents><Key>b</Contents></Key>"),
    "declaration twice": _page(_RUN, before=DECLARATION),
    "false encoding": _page(_block(1, Key="é") + _block(2)).replace(b"UTF-8", b"ISO-8859-1"),
    "unknown encoding": _page(_RUN).replace(b"UTF-8", b"none"),
    "unknown encoding, text like a document type": _page(
        _block(1, Key="<![CDATA[<!DOCTYPE x>]]>") + _block(2)
    ).replace(b"UTF-8", b"none"),
    "half, with text like a document type": _page(_block(1, Key="<![CDATA[<!DOCTYPE x>]]>"))[:-9],
    "utf-16": _page(_RUN).decode().encode("utf-16"),
    "other version": _page(_RUN).replace(b"1.0", b"1.1"),
    "html": b"<html><body>Bad Gateway</body></html>",
    "block as root": _RUN.encode(),
    "one block as root": _block(1).encode(),
    "spaces": b" \n ",
    "text": b"OK",
    "null only": b"\0",
}


@pytest.mark.parametrize("body", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_what_is_not_plain(body: bytes) -> None:
    _same(body, LISTING)


_SNIPPETS = st.sampled_from([
    "<", ">", "&", "&amp;", "&quot;", '"', "]]>", "<![CDATA[", "<!--", "-->", "<?x ", "?>", "\r",
    "<Other>", "</Other>", "<Contents>", "</Contents>", "<Contents/>", "</Contents><Contents>",
    "<Key>", "</Key>", "<Key>x</Key>", "<Key/>", "<Owner><ID>x</ID></Owner>", " ", "/", "\ufffe",
    "<Contents><Key>x</Key></Contents>", "<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes>",
    "Contents", "é", "0",
])  # fmt: skip


@given(
    st.integers(min_value=1, max_value=3),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 90), _SNIPPETS), max_size=3),
)
def test_changed_pages(blocks: int, changes: list[tuple[int, int, str]]) -> None:
    """A page with something put in, or in the place of something, is read as botocore reads it."""
    text = _page("".join(map(_block, range(blocks)))).decode()
    for at, length, snippet in changes:
        at %= len(text)
        length = 0 if length > 60 else length  # sometimes nothing is lost
        text = text[:at] + snippet + text[at + length :]
    _same(text.encode(), LISTING)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@example("&quot;")
def test_any_text_in_a_block(text: str) -> None:
    _same(_page(_block(1, Key=text) + _block(2, Key=text)), LISTING)


@pytest.mark.filterwarnings("ignore:tzname .* identified but not understood")
@given(
    st.text("0123456789-:.TZ+", max_size=26)
    | st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,7})?Z?",
        fullmatch=True,
    )
)
def test_any_time_in_a_block(text: str) -> None:
    _same(_page(_block(1, LastModified=text) + _block(2, LastModified=text)), LISTING)


@given(st.binary(max_size=60))
@example(b"\xef\xbb\xbf<a/>")
def test_any_bytes(body: bytes) -> None:
    _same(body, LISTING)


# ---- keys that are encoded -----------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["ListObjectsV2", "ListObjectVersions"])
def test_encoded_keys(operation: str) -> None:
    text = "a%2Fb+c%25d%E9%8D%B5%FF%zz"
    names = ("Delimiter", "Prefix", "StartAfter", "KeyMarker", "NextKeyMarker", "Name")
    lists = {"Contents": "Key", "Version": "Key", "DeleteMarker": "Key", "CommonPrefixes": "Prefix"}
    body = (
        "<Result><EncodingType>url</EncodingType>"
        + "".join(f"<{name}>{text}</{name}>" for name in names)
        + "".join(f"<{name}><{lists[name]}>{text}</{lists[name]}></{name}>" for name in lists)
        + "</Result>"
    ).encode()

    assert parse(body, _shape(operation), encoded=True) == _decoded(body, operation)
    assert parse(body, _shape(operation)) == _botocore(body, _shape(operation))
    assert parse(body, _shape(operation), encoded=True) != parse(body, _shape(operation))


def _decoded(body: bytes, operation: str) -> dict[str, Any]:
    """With what boto3 does after it has parsed."""
    session = botocore.session.get_session()
    parsed = _botocore(body, _shape(operation))
    session.get_component("event_emitter").emit(
        f"after-call.s3.{operation}", parsed=parsed, context={"encoding_type_auto_set": True}
    )
    return parsed


def test_keys_are_decoded_only_if_they_say_so() -> None:
    body = _page(_block(1, Key="a%2Fb"))

    assert parse(body, LISTING, encoded=True)["Contents"][0]["Key"] == "a%2Fb"


def test_encoded_keys_of_plain_blocks() -> None:
    body = _page(
        _block(1, Key="a%2Fb") + _block(2, Key="a+b") + _block(3, Key="plain"),
        before="<EncodingType>url</EncodingType>",
    )

    keys = [item["Key"] for item in parse(body, LISTING, encoded=True)["Contents"]]

    assert keys == ["a/b", "a b", "plain"]


def test_an_encoded_block_without_a_key() -> None:
    body = _page("<Contents><Size>1</Size></Contents>", after="<EncodingType>url</EncodingType>")

    with pytest.raises(NotXml, match="Contents has no Key"):
        parse(body, LISTING, encoded=True)


# ---- answers that are none -----------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_empty_body(operation: str) -> None:
    assert parse(b"", _shape(operation)) == _botocore(b"", _shape(operation))


def test_an_empty_body_of_a_copy() -> None:
    assert parse(b"", _shape("CopyObject")) == {"CopyObjectResult": {}}
    assert parse(b"", _shape("CompleteMultipartUpload")) == {}


ERRORS = [
    "<Error><Code>SlowDown</Code><Message>Reduce &amp; wait</Message><RequestId>1</RequestId>"
    "<HostId>2</HostId><Key>a</Key></Error>",
    "<Error/>",
    "<Error><Code/><Details><Code>A</Code><Code>B</Code></Details><Code>C</Code></Error>",
    "<Error><Code>A</Code><Detail><More><Most>x</Most></More></Detail></Error>",
    f"{DECLARATION}<Error><Code>A</Code>{_RUN}</Error>",
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("body", ERRORS)
def test_an_error_with_status_200(operation: str, body: str) -> None:
    answer = {"status_code": 500, "headers": {}, "body": body.encode()}
    theirs = BOTOCORE.parse(answer, _shape(operation))["Error"]

    with pytest.raises(ErrorBody) as raised:
        parse(body.encode(), _shape(operation))

    assert raised.value.error == theirs


def test_an_error_in_a_namespace() -> None:
    with pytest.raises(ErrorBody) as raised:
        parse(b'<Error xmlns="urn:s3"><Code>InternalError</Code></Error>', _shape("CopyObject"))

    assert raised.value.error == {"Code": "InternalError"}


def test_a_deep_error() -> None:
    with pytest.raises(NotXml):
        parse(b"<Error>" + b"<a>" * 9999 + b"</a>" * 9999 + b"</Error>", LISTING)


@pytest.mark.parametrize("space", ["", "\n", "  \r\n\t" * 99])
def test_white_space_before_the_declaration(space: str) -> None:
    result = f"{DECLARATION}<CompleteMultipartUploadResult><ETag>&quot;a-1&quot;</ETag><Key>k</Key>"
    body = f"{space}{result}</CompleteMultipartUploadResult>".encode()

    assert parse(body, _shape("CompleteMultipartUpload")) == {"ETag": '"a-1"', "Key": "k"}
    assert parse(space.encode() + _page(_RUN), LISTING) == _botocore(_page(_RUN), LISTING)
    with pytest.raises(ErrorBody):
        parse(space.encode() + DECLARATION.encode() + b"<Error/>", _shape("CopyObject"))


_LAUGHS = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "document_type",
    [
        "<!DOCTYPE ListBucketResult>",
        f'<!DOCTYPE x [<!ENTITY e0 "ha">{_LAUGHS}]>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        f'<!DOCTYPE x [<!ENTITY e11 "{_RUN}">]>',
    ],
)
@pytest.mark.parametrize("content", [_RUN, "&e11;", _block(1, Key="&e11;")])
def test_a_document_type_is_refused(document_type: str, content: str) -> None:
    body = _page(content).replace(
        b"<ListBucketResult", document_type.encode() + b"<ListBucketResult"
    )

    with pytest.raises(NotXml, match="document type"):
        parse(body, LISTING)


def test_text_like_a_document_type() -> None:
    body = _page(_RUN, before="<Delimiter><![CDATA[<!DOCTYPE x>]]></Delimiter>")

    assert parse(body, LISTING)["Delimiter"] == "<!DOCTYPE x>"


@pytest.mark.parametrize("twice", ["<UploadId>a</UploadId>", "<Bucket/>", "<Key>k</Key>"])
def test_what_is_there_twice(twice: str) -> None:
    with pytest.raises(NotXml, match="twice"):
        parse(f"<R>{twice}{twice}</R>".encode(), _shape("CreateMultipartUpload"))


def test_a_list_that_is_there_twice() -> None:
    with pytest.raises(NotXml, match="TagSet twice"):
        parse(b"<R><TagSet/><TagSet><Tag/></TagSet></R>", _shape("GetObjectTagging"))


def test_a_list_that_is_named_by_its_items() -> None:
    shapes: Any = {
        "NamedByItems": {"type": "structure", "members": {"Names": {"shape": "Names"}}},
        "Names": {
            "type": "list",
            "flattened": True,
            "locationName": "List",
            "member": {"shape": "Name", "locationName": "Item"},
        },
        "Name": {"type": "string"},
    }
    shape = ShapeResolver(shapes).get_shape_by_name("NamedByItems")
    body = b"<R><Item>a</Item><List>b</List><Names>c</Names><Item>d</Item></R>"

    assert parse(body, shape) == _botocore(body, shape) == {"Names": ["a", "d"]}


@pytest.mark.parametrize(
    "operation", ["GetObject", "GetBucketAcl", "GetBucketPolicy", "SelectObjectContent"]
)
def test_shapes_that_are_not_read(operation: str) -> None:
    with pytest.raises(TypeError):
        parse(b"<R/>", _shape(operation))
