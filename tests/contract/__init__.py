"""One contract, run against every server that `tests.servers` can start."""
