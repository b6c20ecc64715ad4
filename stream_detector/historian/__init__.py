"""Reads historians' files. The one reader: `stream-detector replay` sends what it returns, the trainer builds on it."""

from stream_detector.historian.history import History
from stream_detector.historian.layout import Layout
from stream_detector.historian.reader import files_of, read_histories, read_history
from stream_detector.historian.report import ReadReport

__all__ = ["History", "Layout", "ReadReport", "files_of", "read_histories", "read_history"]
