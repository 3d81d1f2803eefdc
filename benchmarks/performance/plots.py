"""The results as pictures; needs matplotlib, the extra ``plots``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from benchmarks.performance.targets import costs
from benchmarks.performance.works import CLERK, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.performance.rows import Row

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "object-clerk"  # the same results make the same file
mpl.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot as plt  # noqa: E402 - after the choice above

_OURS, _THEIRS, _PLAIN = "#1b6ca8", "#b8bfc6", "#5d6770"


def draw(rows: Sequence[Row], directory: Path) -> None:
    """Write ``small.svg``, ``large.svg`` and ``scaling.svg``, those of which there are results."""
    directory.mkdir(parents=True, exist_ok=True)
    plain = [row for row in rows if row.server == "stub" and not row.latency_ms]
    small = [row for row in plain if row.work.startswith("small-") or row.work == "list"]
    large = [row for row in plain if row.work in ("upload", "download", "download-single")]
    if small:
        _bars(small, "objects per CPU second, times plain boto3", directory / "small.svg")
    if large:
        _bars(large, "CPU time, times plain boto3", directory / "large.svg")
    if any(row.work == "scaling" for row in plain):
        _lines(plain, directory / "scaling.svg")


def _bars(rows: Sequence[Row], label: str, path: Path) -> None:
    """One panel for each work and variant, one bar for each tool."""
    panels: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        panels.setdefault((row.work, row.variant), []).append(row)
    heights = [len(shown) + 1.5 for shown in panels.values()]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(8, 0.3 * sum(heights)), height_ratios=heights, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, ((work, variant), shown) in zip(axes[:, 0], panels.items(), strict=True):
        names = [row.tool for row in shown]
        is_rate = not work.startswith(("upload", "download"))
        spreads = [row.times_boto3 if is_rate else row.cpu_ratio for row in shown]
        values = [spread.median if spread else 0.0 for spread in spreads]
        bars = axis.barh(names, values, color=[_colour(name) for name in names])
        axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        axis.axvline(1, color=_PLAIN, linewidth=0.8)
        axis.set_title(f"{work}: {variant}", fontsize=9, loc="left")
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel(label, fontsize=9)
    _save(figure, path)


def _lines(rows: Sequence[Row], path: Path) -> None:
    """One panel for each verb: what a unit costs, against how many there are."""
    found = costs(rows)
    figure, axes = plt.subplots(
        1, len(found), figsize=(3 * len(found), 3), squeeze=False, layout="constrained"
    )
    for axis, (verb, tools) in zip(axes[0], found.items(), strict=True):
        for tool, cost in tools.items():
            units = [units.split()[0] for units in cost]
            axis.plot(units, list(cost.values()), marker="o", color=_colour(tool), label=tool)
        axis.set_title(verb, fontsize=9)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("units", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("CPU s for a GiB, or 1,000 objects", fontsize=8)
    axes[0, 0].legend(fontsize=7, frameon=False)
    _save(figure, path)


def _colour(tool: str) -> str:
    if tool == REFERENCE:
        return _PLAIN
    return _OURS if tool == CLERK.name else _THEIRS


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
