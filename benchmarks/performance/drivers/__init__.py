"""The tools that are compared, one module each: what they are asked to do, and what they check."""
