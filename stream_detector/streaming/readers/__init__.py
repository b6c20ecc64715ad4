"""Readers of topics outside the group of the worker."""
