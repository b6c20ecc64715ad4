"""What the engine keeps of each asset, and its snapshots."""
