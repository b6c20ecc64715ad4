"""The operator console: a page that the detector serves at `/`, and the history behind it."""
