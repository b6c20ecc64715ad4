"""Side by side on a real broker: the client's limit, this product, and its peers, each pinned to one core."""
