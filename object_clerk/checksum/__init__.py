"""Pure functions over digests: no files, no sockets."""
