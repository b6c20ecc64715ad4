"""Fuzz targets for everything that reads bytes from outside; see `tests.fuzz.targets` and `make fuzz`."""
