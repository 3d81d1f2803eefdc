"""The experiments that can be made with any tool, in the order of the table."""

from benchmarks.side_by_side.cases import copying, keys, reading, waiting, writing

CASES = sorted(
    [*reading.CASES, *writing.CASES, *copying.CASES, *keys.CASES, *waiting.CASES],
    key=lambda case: int(case.experiment.removeprefix("E")),
)
