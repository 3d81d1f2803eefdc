"""The test-suite of object-clerk."""
