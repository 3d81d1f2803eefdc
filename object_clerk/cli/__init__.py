"""The command line: ``object-clerk COMMAND``."""
