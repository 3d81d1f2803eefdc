"""A seeded simulation of the clerk over a store, a network and a clock that are all made up.

Nothing here opens a socket or waits: `store` is an S3 store in plain Python, `wire` is a boto3
client in front of it that fails as its plan says, `stagecraft` replaces clock and threads.
A `Scenario` is drawn from one seed, run, and judged by `invariants`. See `__main__` for how to
run one seed again and how to run many.
"""
