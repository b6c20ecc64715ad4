"""Real processes for tests: brokers, workers, Prometheus, what is installed."""
