"""The pure half of the benchmarks: medians, ratios, targets, and the page made of them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.performance import page, rows
from benchmarks.performance.job import MIB, Measured, content, names
from benchmarks.performance.rows import Row, Spread
from benchmarks.performance.run import Plan
from benchmarks.performance.targets import TARGETS, Target, costs, is_flat
from benchmarks.performance.works import NAMES, TOOLS, Scale, Work, works

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAN = Plan("stub", 3, 0.0, 1, ".", "the command", "2026-11-21")
WORK = Work("small-put", "16 KiB", "put", 2000, 16384)


def row(
    work: Work, tool: str, cpu: Sequence[float], reference: Sequence[float] | None = None
) -> Row:
    runs, others = ([Measured(s, 2 * s, 30.0) for s in each] for each in (cpu, reference or []))
    return rows.row_of(work, tool, PLAN, runs, others or None, "signed", "all bytes")


class TestRows:
    def test_spread_is_the_median_the_least_and_the_most(self) -> None:
        assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
        assert Spread.of([4.0, 1.0]).median == 2.5
        assert Spread(2.0, 1.0, 3.0).text() == "2.00 (1.00-3.00)"
        assert Spread(2.0, 2.0, 2.0).text("{:.0f}") == "2"

    def test_ratios_are_those_of_the_same_round(self) -> None:
        """Of the medians it would be 2: both tools were slow in the same round."""
        found = row(WORK, "object-clerk", [1.0, 2.0, 9.0], [2.0, 1.0, 9.0])
        assert found.cpu_s == Spread(2.0, 1.0, 9.0)
        assert found.cpu_ratio == Spread(1.0, 0.5, 2.0)
        assert found.wall_ratio == found.cpu_ratio

    def test_a_rate_is_the_inverse_of_the_ratio(self) -> None:
        found = row(WORK, "object-clerk", [0.5, 0.25, 1.0], [2.0, 2.0, 2.0])
        assert found.times_boto3 == Spread(4.0, 2.0, 8.0)
        assert found.per_cpu_s == 4000

    def test_without_a_reference_there_is_no_ratio(self) -> None:
        found = row(WORK, "object-clerk", [1.0])
        assert found.cpu_ratio is found.wall_ratio is found.times_boto3 is None

    def test_rows_survive_json(self) -> None:
        found = row(WORK, "object-clerk", [1.0, 2.0], [1.0, 1.0])
        assert Row.load(json.loads(json.dumps(dataclasses.asdict(found)))) == found

    def test_new_rows_take_the_place_of_old_ones(self) -> None:
        old, new = row(WORK, "boto3", [1.0]), row(WORK, "boto3", [2.0])
        other = dataclasses.replace(old, latency_ms=5.0)
        assert rows.merged([old, other], [new]) == [new, other]

    def test_table_has_a_line_for_each_row_and_what_is_checked(self) -> None:
        _, line, checks = rows.table([row(WORK, "boto3", [1.0], [1.0])]).splitlines()
        assert line.split()[:2] == ["small-put", "16"]
        assert checks == "small-put: boto3 checks: all bytes. It says: nothing."


class TestTargets:
    @pytest.mark.parametrize(
        ("what", "limit", "is_met"),
        [("times", 2.0, True), ("times", 2.1, False), ("cpu", 0.5, True), ("cpu", 0.4, False),
         ("wall", 0.5, True), ("mib", 30, True), ("mib", 29, False)],
    )  # fmt: skip
    def test_limits(self, what: str, limit: float, is_met: bool) -> None:
        mine = row(WORK, "object-clerk", [1.0], [2.0])
        others = [row(WORK, "boto3", [9.0], [9.0]), row(WORK, "object-clerk, slow lane", [9.0])]
        target = Target("small-put", "", what, limit)
        assert target.is_met([*others, mine]) is is_met
        assert target.is_met(others) is None

    def test_of_several_sizes_the_worst_counts(self) -> None:
        works = [dataclasses.replace(WORK, variant=name) for name in ("1", "2")]
        found = [row(works[0], "object-clerk", [1.0], [2.0]), row(works[1], "object-clerk", [3.0])]
        found[1] = dataclasses.replace(found[1], cpu_ratio=Spread(3.0, 3.0, 3.0))
        assert Target("small-put", "", "cpu", 1.0).shown(found) == "3.00"
        assert Target("small-put", "1", "cpu", 1.0).shown(found) == "0.50"

    def test_every_target_is_one_of_a_work_that_there_is(self) -> None:
        known = {(each.name, each.variant) for name in NAMES for each in works(name, Scale())}
        known |= {(name, "") for name in NAMES}
        assert {(target.work, target.variant) for target in TARGETS} <= known

    def test_costs_are_those_of_a_unit(self) -> None:
        each = [Work("scaling", f"put, {units} x 1000", "put", units * 1000, 1) for units in (1, 2)]
        found = costs([row(each[0], "boto3", [2.0]), row(each[1], "boto3", [5.0])])
        assert found == {"put": {"boto3": {"1 x 1000": 2.0, "2 x 1000": 2.5}}}
        assert is_flat([2.0, 2.5])
        assert not is_flat([2.0, 2.6])


class TestWorks:
    def test_amounts(self) -> None:
        assert WORK.amount == 2
        assert Work("upload", "", "upload", 0, 512 * MIB).amount == 0.5
        assert Work("import", "", "import", 0, 0).amount == 1

    def test_names_are_unique(self) -> None:
        every = [(each.name, each.variant) for name in NAMES for each in works(name, Scale())]
        assert len(set(every)) == len(every)
        assert len({tool.name for tool in TOOLS}) == len(TOOLS)

    def test_the_reference_takes_part_in_everything(self) -> None:
        every = (each for name in NAMES for each in works(name, Scale()))
        assert all(each.tools[0].name == "boto3" for each in every)

    def test_content_and_names(self) -> None:
        assert [len(content(size)) for size in (0, 1, 256, 1000)] == [0, 1, 256, 1000]
        assert names("in/", 2) == ["in/000000", "in/000001"]


class TestPage:
    def test_only_what_is_between_the_marks_is_made_anew(self) -> None:
        text = f"above\n\n{page.BEGIN}\n\nold\n\n{page.END}\n\nbelow\n"
        found = [row(WORK, "boto3", [1.0], [1.0]), row(WORK, "object-clerk", [0.5], [2.5])]
        made = page.filled(text, found)
        assert made.startswith("above\n\n")
        assert made.endswith("\n\nbelow\n")
        assert "old" not in made
        assert page.filled(made, found) == made
        assert "5.00" in made
        assert "the command" in made

    @pytest.mark.parametrize("text", ["", page.BEGIN, page.END])
    def test_page_without_marks_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="the page has no"):
            page.filled(text, [])

    def test_older_results_stand_beside(self) -> None:
        now, before = ([row(WORK, "object-clerk", [1.0], [times])] for times in (5.0, 0.9))
        lines: list[Any] = page.body(now, before).splitlines()
        at = lines.index("   * - small-put")
        shown = ["     - 0.90", "     - 5.00", "     - yes", "     - signed"]
        assert lines[at + 2 : at + 6] == shown
