"""The other pages: they render, and what they list is what there is."""

from __future__ import annotations

import configparser
import dataclasses
import inspect
import re
from typing import TYPE_CHECKING

import pytest

import object_clerk
from object_clerk import config, exceptions, retry
from object_clerk.checksum import layout
from tests.docs.rst import PAGES, ROOT, Page, page
from tests.servers import NAMES, ODD_KEYS, TRAITS, Traits

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_page_renders_without_complaints(path: Path) -> None:
    assert not Page(path).complaints


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    links = [link for link in Page(path).links() if not link.startswith("http")]
    missing = [link for link in links if not (path.parent / link).is_file()]
    assert not missing


def test_index_names_every_page() -> None:
    links = set(page("docs/index.rst").links())
    pages = {path.name for path in (ROOT / "docs").glob("*.rst")} - {"index.rst"}
    assert pages <= links


def test_examples_of_the_configuration_run(capsys: pytest.CaptureFixture[str]) -> None:
    for _, text in page("docs/configuration.rst").blocks("python"):
        exec(text, {})
    shown = capsys.readouterr().out
    assert "upload.threshold_bytes = 67108864  (variable MULTIPART_THRESHOLD)" in shown
    assert "connection_retry.tries = 5  (argument retry_tries)" in shown


def test_every_name_in_the_json_variables_is_explained() -> None:
    configuration = page("docs/configuration.rst")
    transfer = [row[0] for row in configuration.table("transfer-names")]
    assert sorted(transfer) == sorted(config.TRANSFER_NAMES)
    retries = [row[0] for row in configuration.table("retry-names")]
    assert sorted(retries) == sorted(config.DEFAULT_CONNECTION_RETRY)


# -- errors --------------------------------------------------------------------------------


def tree_of_exceptions() -> set[str]:
    return {
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value)
        and issubclass(value, exceptions.ObjectClerkException)
        and not name.startswith("_")
    }


def test_every_exception_is_explained() -> None:
    explained = [row[0] for row in page("docs/errors.rst").table("exceptions")]
    assert sorted(explained) == sorted(tree_of_exceptions())
    public = {name for name in object_clerk.__all__ if name in vars(exceptions)}
    assert public <= set(explained)


def test_the_tree_of_errors_is_that_of_the_module() -> None:
    (drawn,) = page("docs/errors.rst").blocks()
    assert exceptions.__doc__ is not None
    assert drawn[1] in inspect.cleandoc(exceptions.__doc__).replace("\n    ", "\n")


def test_the_drawn_tree_is_the_real_one() -> None:
    """Every line's parent is the base of its class, and the builtin in brackets is one too."""
    (drawn,) = page("docs/errors.rst").blocks()
    parents: list[str] = []
    seen = set()
    for line in drawn[1].splitlines():
        match = re.fullmatch(r"(?P<indent>[ │├└─]*)(?P<name>\w+).*?(?:\((?P<builtin>\w+)\))?", line)
        assert match is not None
        depth = len(match["indent"]) // 4
        cls = getattr(exceptions, match["name"])
        parents[depth:] = [match["name"]]
        if depth:
            assert cls.__bases__[0].__name__ == parents[depth - 1]
        if match["builtin"]:
            assert match["builtin"] in {base.__name__ for base in cls.__mro__}
        seen.add(match["name"])
    assert seen == tree_of_exceptions()


# -- retries -------------------------------------------------------------------------------


def test_every_code_stands_in_the_line_of_its_class() -> None:
    lines = {row[0]: row[1] for row in page("docs/retries.rst").table("failures")}
    assert list(lines) == [failure.name for failure in exceptions.Failure]
    stated = {
        (word, name)
        for name, cell in lines.items()
        for word in re.findall(r"\w+", cell)
        if word in exceptions.ERROR_CODES
    }
    assert stated == {(code, failure.name) for code, (_, failure) in exceptions.ERROR_CODES.items()}


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (401, "CREDENTIALS"), (403, "FINAL"), (404, "FINAL"), (408, "TRANSIENT"), (409, "FINAL"),
        (412, "FINAL"), (429, "THROTTLED"), (500, "TRANSIENT"), (501, "FINAL"),
        (502, "TRANSIENT"), (503, "TRANSIENT"), (504, "TRANSIENT"),
    ],
)  # fmt: skip
def test_statuses_stand_in_the_line_of_their_class(status: int, name: str) -> None:
    assert exceptions._by_status(status)[1].name == name
    lines = {row[0]: row[1] for row in page("docs/retries.rst").table("failures")}
    assert re.search(rf"\b{status}\b", lines[name])


def test_figures_of_the_retries_are_those_of_the_code() -> None:
    text = page("docs/retries.rst").text
    costs = retry.RetryBudget
    throttled = costs.COST[exceptions.Failure.THROTTLED]
    assert f"{costs.CAPACITY} tokens" in text
    assert f"A retry takes {costs.DEFAULT_COST}, one under throttling {throttled}," in text
    assert f"up to {retry.LONGEST_RETRY_AFTER_S:.0f} seconds" in text
    assert f"has a deadline, {retry.DEFAULT_DEADLINE_S:.0f} seconds" in text


def test_part_sizes_that_are_tried_are_those_of_the_code() -> None:
    text = page("docs/verification.rst").text
    binary = [size // MIB for size in layout.USUAL_PART_SIZES if size % MIB == 0]
    decimal = [size // 10**6 for size in layout.USUAL_PART_SIZES if size % 10**6 == 0]
    *first, last = sorted(set(binary))
    assert f"{', '.join(map(str, first))} and {last} MiB" in text
    *first, last = sorted(set(decimal))
    assert f"{', '.join(map(str, first))} and {last} million bytes" in text


# -- servers, architecture -----------------------------------------------------------------


def test_what_servers_do_is_what_was_measured() -> None:
    fields = [field.name for field in dataclasses.fields(Traits) if isinstance(field.default, bool)]
    expected = {
        name: ["yes" if getattr(traits, name) else "no" for traits in TRAITS.values()]
        for name in fields
    }
    gaps = {name: cells for name, cells in expected.items() if "no" in cells}
    stated = {row[1]: row[2:] for row in page("docs/servers.rst").table("traits")}
    assert stated == gaps


def test_keys_that_servers_refuse_are_those_that_were_measured() -> None:
    kinds = {key: kind for kind, key in ODD_KEYS.items()}
    stated = dict(page("docs/servers.rst").table("odd-keys"))
    assert stated == {
        name: ", ".join(sorted(kinds[key] for key in traits.unsupported_keys))
        or "none of those tried"
        for name, traits in TRAITS.items()
    }


def test_every_server_has_its_remarks() -> None:
    assert set(page("docs/servers.rst").terms()) == set(NAMES) - {"live"}


def test_arrows_are_those_that_are_enforced() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    drawn = [text for _, text in page("ARCHITECTURE.rst").blocks()]
    for contract in ("rooms", "movements"):
        assert parser[f"importlinter:contract:{contract}"]["layers"].strip() in drawn


def test_every_module_has_its_room() -> None:
    package = ROOT / "object_clerk"
    paths = [
        *package.iterdir(),
        *(package / "transfer").iterdir(),
        *(package / "checksum").iterdir(),
    ]
    modules = {path.stem for path in paths if not path.name.startswith((".", "_", "py.typed"))}
    text = " ".join(cell for row in page("ARCHITECTURE.rst").table("rooms") for cell in row)
    missing = modules - set(re.findall(r"\w+", text))
    assert not missing


def test_changes_of_this_version_are_told() -> None:
    assert f"{object_clerk.__version__} - " in page("CHANGELOG.rst").text
