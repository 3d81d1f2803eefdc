"""The page of the promises: the tests it names are there, and servers do what it says."""

from __future__ import annotations

import ast
import dataclasses
import re

import pytest

from object_clerk import ObjectClerk
from tests.docs.rst import ROOT, page
from tests.servers import TRAITS, Traits

TABLES = ("invariants", "guarantees")

#: Verbs that make no promise of their own: they ask, sign or close.
MODEST = {
    *("get_object_info", "exists", "delete_object", "list_uploads"),
    *("list_buckets", "create_bucket", "delete_bucket", "list_versions"),
    *("presign_get", "presign_put", "from_env", "close", "client", "endpoint"),
}

_TEST = re.compile(r"([\w/]+\.py)::(\w+)")
_CLAIM = re.compile(r"(\w+): ([\w, ]+?)(?:; not ([\w, ]+?))?\.(?: |$)")


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    guarantees = page("docs/guarantees.rst")
    return [row for name in TABLES for row in guarantees.table(name)]


def names_of_tests(path: str) -> set[str]:
    """The names of the tests in a file, those in classes included."""
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    found = (node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {name for name in found if name.startswith("test_")}


def named(list_: str | None) -> list[str]:
    return list_.split(", ") if list_ else []


def test_every_promise_has_tests_and_all_are_there(rows: list[list[str]]) -> None:
    for promise, _, _, tests in rows:
        stated = _TEST.findall(tests)
        assert stated, promise
        assert len(stated) == len(tests.split()), f"something else among the tests of: {promise}"
        for path, name in stated:
            assert name in names_of_tests(path), f"tests/{path} has no {name}: {promise}"


def test_servers_do_what_is_claimed(rows: list[list[str]]) -> None:
    fields = {field.name for field in dataclasses.fields(Traits)}
    claimed = set()
    for promise, _, servers, _ in rows:
        for trait, can, cannot in _CLAIM.findall(servers):
            assert trait in fields, f"{trait}: {promise}"
            claimed.add(trait)
            measured = {name: getattr(traits, trait) for name, traits in TRAITS.items()}
            assert named(can) == [name for name, does in measured.items() if does], promise
            assert named(cannot) == [name for name, does in measured.items() if not does], promise
    assert claimed >= {
        *("put_if_none_match", "put_if_match", "complete_if_none_match", "complete_if_match"),
        *("delete_if_match", "copy_source_if_match", "get_if_match", "verifies_content_md5"),
        *("put_if_none_match_atomic", "head_part_number", "get_part_number", "versioning"),
    }


def test_every_promise_says_which_servers_can_give_it(rows: list[list[str]]) -> None:
    for promise, basis, servers, _ in rows:
        assert basis, promise
        assert servers.startswith("all") or _CLAIM.match(servers), promise
        # Whatever is told with a colon is a claim that was compared above.
        assert servers.count(":") == len(_CLAIM.findall(servers)), promise


def test_amazon_is_never_said_to_be_tried(rows: list[list[str]]) -> None:
    for promise, *_ in (row for row in rows if "Amazon" in " ".join(row)):
        (servers,) = (row[2] for row in rows if row[0] == promise)
        assert "Amazon S3 by its documentation, not tried." in servers, promise


def test_all_invariants_are_there_in_their_order(rows: list[list[str]]) -> None:
    numbers = [promise.split(".")[0] for promise, *_ in rows if re.match(r"I\d\. ", promise)]
    assert numbers == [f"I{number}" for number in range(1, 10)]


def test_every_verb_makes_a_promise(rows: list[list[str]]) -> None:
    promises = " ".join(row[0] for row in rows)
    verbs = {name for name in vars(ObjectClerk) if not name.startswith("_")} - MODEST
    assert not {verb for verb in verbs if verb not in promises}
