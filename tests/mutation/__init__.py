"""Mutation testing: each small change of the code that decides must make a test fail."""
