"""What we and others do when a store, a network or somebody else misbehaves, in one table."""
