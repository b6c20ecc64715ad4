"""Faust and aiokafka: fetches come in, and offsets that the pipeline declared done are committed."""
