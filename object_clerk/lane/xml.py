"""S3's answers in XML, as boto3 would give them.

A shape of botocore's model says what an answer holds. It is compiled once, and read off the same
tree that botocore uses. In a listing nearly all of the work is one list of a thousand blocks. So
these are cut out of the text with one regular expression, if they are plain; whatever is not plain,
the tree decides.

Two things are refused that botocore lets pass: a document type, since entities can grow without
limit, and a value that is there twice. White space before the declaration is allowed: servers send
it to keep the connection alive while they copy.
"""

from __future__ import annotations

import datetime
import functools
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, cast
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET
from xml.parsers import expat

from object_clerk.lane.moment import ISO, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from xml.etree.ElementTree import Element

    from botocore.model import ListShape, Shape, StructureShape

#: What botocore decodes if it asked for encoded keys itself: members, and members of lists.
_ENCODED: Final = {
    "ListObjectsV2Output": (
        ("Delimiter", "Prefix", "StartAfter"),
        (("Contents", "Key"), ("CommonPrefixes", "Prefix")),
    ),
    "ListObjectVersionsOutput": (
        ("KeyMarker", "NextKeyMarker", "Prefix", "Delimiter"),
        (("Versions", "Key"), ("DeleteMarkers", "Key"), ("CommonPrefixes", "Prefix")),
    ),
}


class NotXml(ValueError):
    """The body is not the XML it should be: cut off, forbidden, or with values without sense."""


class ErrorBody(ValueError):
    """The body is an error, whatever the status says.

    Attributes:
        error: What boto3 has as ``response["Error"]``: Code, Message, and what else was sent.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error)
        self.error = error


def parse(body: bytes, shape: Shape, *, encoded: bool = False) -> dict[str, Any]:
    """What a body says, as the members of an output shape.

    An empty body gives what boto3 gives: nothing, or a payload without members. boto3 takes it for
    an error in no operation. So a caller that needs an answer has to look at the body.

    Args:
        body: The whole body of an answer with a status of success.
        shape: The output shape of the operation.
        encoded: Whether the request asked for ``encoding-type=url`` though the caller did not.
            Then keys are decoded if the answer says that they are encoded.

    Raises:
        NotXml: If the body cannot be read.
        ErrorBody: If it is an error. S3 sends errors with status 200 if it has begun to answer.
        TypeError: If the shape has something in it that is not read here.
    """
    output = _compiled.get(shape.name) or _compile(shape)
    parsed = _body(body, output) if body else {}
    if encoded and parsed.get("EncodingType") == "url" and shape.name in _ENCODED:
        _decode(parsed, *_ENCODED[shape.name])
    return {output.payload: parsed} if output.payload else parsed


def _body(body: bytes, output: _Output) -> dict[str, Any]:
    parsed = _from_text(body, output) if output.block else None
    return _from_tree(body, output) if parsed is None else parsed


def _decode(parsed: dict[str, Any], names: Iterable[str], lists: Iterable[tuple[str, str]]) -> None:
    for name in names:
        if name in parsed:
            parsed[name] = unquote_plus(parsed[name])
    for name, member in lists:
        for item in parsed.get(name, ()):
            try:
                text = item[member]
            except KeyError:
                raise NotXml(f"One of {name} has no {member}.") from None
            if "%" in text or "+" in text:  # most have neither, and need no call
                item[member] = unquote_plus(text)


# ---- the tree ------------------------------------------------------------------------------------


def _from_tree(body: bytes, output: _Output) -> dict[str, Any]:
    try:
        root = _tree(body.lstrip(b" \t\r\n"))
        if _local(root) == "Error":
            raise ErrorBody(_error(root))
        return output.read(root)
    except (ErrorBody, NotXml):
        raise
    except (ET.ParseError, expat.ExpatError) as error:
        raise NotXml(f"The body is not XML: {error}") from error
    except (ValueError, RuntimeError) as error:  # also botocore's error about time zones
        raise NotXml(f"The body has a value without sense: {error}") from error


def _tree(body: bytes) -> Element:
    if b"<!DOCTYPE" in body:  # it may be mere text, so expat is asked; it stops before any entity
        prolog = expat.ParserCreate("utf-8")
        prolog.StartDoctypeDeclHandler = _refuse
        prolog.Parse(body, True)
    # Whatever encoding a document claims to have, botocore reads it as UTF-8.
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - there are no entities by now
    parser.feed(body)
    return parser.close()


def _refuse(*_: object) -> NoReturn:
    raise NotXml("The body has a document type, which no answer of S3 needs.")


def _local(node: Element) -> str:
    return node.tag.rpartition("}")[2]


def _error(node: Element) -> dict[str, Any]:
    """All fields but the two ids, which boto3 has elsewhere."""
    fields = _fields(node)
    return {name: fields[name] for name in fields if name not in ("RequestId", "HostId")}


def _fields(node: Element) -> dict[str, Any]:
    """The fields as botocore has them: of repeated ones, what is in the first."""
    fields: dict[str, list[Element]] = {}
    for child in node:
        fields.setdefault(_local(child), []).append(child)
    return {
        name: _fields(found[0]) if len(found) > 1 or len(found[0]) else found[0].text
        for name, found in fields.items()
    }


# ---- shapes --------------------------------------------------------------------------------------


class _Member(NamedTuple):
    """How one member of a structure is read."""

    name: str
    read: Callable[[Element], Any]
    convert: Callable[[str], Any] | None
    """The same for one element without others in it, from its text; None if that is not enough."""
    is_list: bool
    """Whether there may be many such elements, each one item of a list."""
    is_moment: bool = False


class _Structure:
    """How a structure is read: its members, by their names in XML."""

    def __init__(self, shape: StructureShape) -> None:
        self.members: dict[str, _Member] = {}
        for name, member in shape.members.items():
            if "location" not in member.serialization:
                self.members[_xml_name(name, member)] = _member(name, member)

    def __call__(self, node: Element) -> dict[str, Any]:
        parsed: dict[str, Any] = {}
        members = self.members
        for child in node:
            member = members.get(child.tag.rpartition("}")[2])
            if member is None:
                continue
            name, read, _, is_list, _ = member
            if is_list:
                parsed.setdefault(name, []).append(read(child))
            elif name not in parsed:
                parsed[name] = read(child)
            elif not isinstance(read, _Structure):  # of structures botocore takes the first
                raise NotXml(f"The body has {name} twice.")
        return parsed


class _Output(NamedTuple):
    """How an output is read."""

    read: _Structure
    payload: str
    """The member that is the whole body, if there is one."""
    block: str
    """The name in XML of what the first large list is made of, if there is one."""


_compiled: Final[dict[str, _Output]] = {}


def _compile(shape: Shape) -> _Output:
    payload = shape.serialization.get("payload", "")
    body = _structure(cast("StructureShape", shape).members[payload] if payload else shape)
    blocks = (
        name
        for name, member in body.members.items()
        if member.is_list and isinstance(member.read, _Structure)
    )
    output = _compiled[shape.name] = _Output(body, payload, next(blocks, ""))
    return output


def _structure(shape: Shape) -> _Structure:
    if shape.type_name != "structure":
        raise TypeError(f"{shape.name} is no structure of XML elements")
    return _Structure(cast("StructureShape", shape))


def _xml_name(name: str, shape: Shape) -> str:
    if _is_flat(shape) and "name" in cast("ListShape", shape).member.serialization:
        shape = cast("ListShape", shape).member
    return str(shape.serialization.get("name", name))


def _is_flat(shape: Shape) -> bool:
    return shape.type_name == "list" and bool(shape.serialization.get("flattened"))


def _member(name: str, shape: Shape) -> _Member:
    if _is_flat(shape):
        _, read, convert, _, _ = _member(name, cast("ListShape", shape).member)
        return _Member(name, read, convert and _one(convert), True)
    if shape.type_name == "structure":
        return _Member(name, _structure(shape), None, False)
    if shape.type_name == "list":
        item = _member(name, cast("ListShape", shape).member).read
        return _Member(name, lambda node: [item(child) for child in node], None, False)
    convert = _CONVERT.get(shape.type_name)
    if convert is None or "xmlAttribute" in shape.serialization:
        raise TypeError(f"{shape.name} is a {shape.type_name}, which is not read here")
    return _Member(
        name, lambda node: convert(node.text or ""), convert, False, shape.type_name == "timestamp"
    )


def _one(convert: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    return lambda text: [convert(text)]


#: The one form of a timestamp that is read without botocore's parser, which reads many, slowly.
_CONVERT: Final[dict[str, Callable[[str], Any]]] = {
    "string": str,
    "integer": int,
    "long": int,
    "boolean": "true".__eq__,
    "timestamp": moment,
}


# ---- plain blocks --------------------------------------------------------------------------------


class _Plain(NamedTuple):
    """How blocks with certain elements are read, if they are plain."""

    split: Callable[[str], list[str | Any]]
    """Gives what is before the first block, then the texts of its elements, and so on."""
    width: int
    """How many texts there are for each block, the one before it among them."""
    names: list[str]
    """The members that are read."""
    columns: list[tuple[int, Callable[[str], Any]]]
    """Where their texts are, and what makes them values."""


#: The text of a plain element: it is well-formed, and means itself.
_TEXT: Final = r"[^<>&\x00-\x1f\ufffe\uffff]*"
_tags_in: Final = re.compile(r"<([A-Za-z][A-Za-z0-9]*)>").findall

#: Blocks with more elements are left to the tree.
_MOST_ELEMENTS: Final = 16


def _from_text(body: bytes, output: _Output) -> dict[str, Any] | None:
    """The same from the text, if all blocks of the large list are plain; else None.

    The blocks are taken out, and one that is empty is left in their place. If the tree finds that
    one in the root, and the name is nowhere else, then that is where they were, and not in a
    comment or in some other element.
    """
    try:
        head, start, rest = body.decode().partition(f"<{output.block}>")
        blocks, end, tail = rest.rpartition(f"</{output.block}>")
        if not start or output.block in head or output.block in tail:
            return None
        tags = _tags_in(blocks.partition(f"</{output.block}>")[0])
        plain = _plain(output, *tags) if len(tags) <= _MOST_ELEMENTS else None
        if plain is None:
            return None
        # This is the one entity that blocks are full of: ETags have it.
        texts = plain.split((start + blocks + end).replace("&quot;", '"'))
        if any(texts[:: plain.width]):  # something is there that is no plain block
            return None
        columns = [map(convert, texts[at :: plain.width]) for at, convert in plain.columns]
        items = [dict(zip(plain.names, row)) for row in zip(*columns)]  # noqa: B905 - hot
        parsed = _from_tree(f"{head}{start}{end}{tail}".encode(), output)
    except ValueError:
        return None  # the tree finds it again, and says what it is
    list_name = output.read.members[output.block].name
    if parsed.get(list_name) != [{}]:
        return None
    parsed[list_name] = items
    return parsed


@functools.lru_cache(maxsize=64)
def _plain(output: _Output, *tags: str) -> _Plain | None:
    """How blocks with these elements are read; None if that needs the tree."""
    members = cast("_Structure", output.read.members[output.block].read).members
    pattern, names, columns = "", [], []
    for at, tag in enumerate(tags, 1):
        member = members.get(tag)
        is_moment = member is not None and member.is_moment
        pattern += f"<{tag}>({ISO if is_moment else _TEXT})</{tag}>"
        if member is None:
            continue
        if member.convert is None:
            return None
        names.append(member.name)
        columns.append((at, datetime.datetime.fromisoformat if is_moment else member.convert))
    if not names or len({*tags}) < len(tags):
        return None
    split = re.compile(f"<{output.block}>{pattern}</{output.block}>").split
    return _Plain(split, len(tags) + 1, names, columns)
