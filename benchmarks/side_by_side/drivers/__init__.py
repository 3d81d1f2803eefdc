"""One small module for each tool; each runs in a process of its own.

A driver has ``VERBS``, functions by name that take a job, and ``version``. A verb that a tool does
not have is missing there. A function returns nothing, or the keys it listed, and lets every error
out. Drivers import their tool and the standard library alone, since some tools need an
environment of their own.
"""
