"""Detection on public data, each set with its published protocol and figures: `python -m benchmarks.detection NAME`."""
