"""Says how a worker does: watchdog, metrics, /healthz and /readyz."""
