"""Where a worker begins to read a partition, how far it is, and what it takes over from the one before it."""
