"""Every claim about memory, as a command that measures it: ``python -m benchmarks.NAME``."""
