"""Just enough reading of PromQL for the tests: which series an expression uses, and it without its thresholds."""

import re

METRIC = re.compile(r"(?<![\w:])((?:\w+:)?(?:stream_detector|process|python|up)(?:_\w+)?(?::\w+)?)(?![\w:(])")
COMPARED_WITH_NUMBER = re.compile(r"\s*(?:==|!=|>=|<=|>|<)\s*(?:bool\s+)?[\d.e+*\s-]+(?=$|\)|\s+and\b|\s+or\b)")


def without_strings(expression: str) -> str:
    """The expression without label matchers and strings, so that words in them are no metrics."""
    return re.sub(r'"[^"]*"', '""', expression)


def metrics_of(expression: str) -> set[str]:
    """Names of the series and recording rules that the expression reads.

    >>> sorted(metrics_of('rate(stream_detector_events_total{asset="up"}[5m]) / up'))
    ['stream_detector_events_total', 'up']
    """
    return set(METRIC.findall(without_strings(expression)))


def without_thresholds(expression: str) -> str:
    """The expression without comparisons with numbers: what must return data even while nothing is wrong.

    >>> without_thresholds('up{job="x"} == 0')
    'up{job="x"}'
    >>> without_thresholds("a > 120 and on (job) (b / (c > 0)) > 30 * 86400")
    'a and on (job) (b / (c))'
    """
    return COMPARED_WITH_NUMBER.sub("", expression)
