"""Neural networks as graphs of their arrays, and one module a kind."""
