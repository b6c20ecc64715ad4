"""The Model dashboard: is the bundle still right, and does it pay?"""

from collections.abc import Sequence

from deploy.grafana.panels import NORMAL, ORANGE, RED, YELLOW, Panel, bars, lines, number, rows, spread

ASSET = '{asset=~"$asset"}'
LEADS = f"sum by (le) (stream_detector_ledger_lead_seconds_bucket{ASSET})"
RATIO_BUCKETS = "sum by (le) (rate(stream_detector_score_ratio_bucket[1h]))"


def _ledger(name: str) -> str:
    # Every detector that serves the ledger shows the same figures: take one of them, then sum over assets.
    return f"sum(max by (site, asset) (stream_detector_ledger_{name}{ASSET}))"


def _by_asset(name: str) -> str:
    return f"max by (asset) (stream_detector_ledger_{name}{ASSET})"


def rows_of_panels() -> Sequence[tuple[str, Sequence[Panel]]]:
    return [
        (
            "Does it pay",
            [
                number(
                    "Saved",
                    "Cost of never alarming minus the realised cost, in the plant's currency units.",
                    _ledger("saved"),
                    steps=[(None, RED), (0, NORMAL)],
                    decimals=0,
                ),
                number(
                    "Saved, part",
                    "Of the cost of never alarming. How sure that is stands in the table, asset by asset: ends of "
                    "intervals do not add up.",
                    f"{_ledger('saved')} / ({_ledger('never_alarm_cost')} > 0)",
                    unit="percentunit",
                    steps=[(None, RED), (0, NORMAL)],
                ),
                number("Caught", "Events with an alarm up in their lead window.", _ledger("events_caught"), decimals=0),
                number(
                    "Missed",
                    "Events without one.",
                    _ledger("events_missed"),
                    steps=[(None, NORMAL), (1, ORANGE)],
                    decimals=0,
                ),
                number(
                    "False alarms",
                    "Alarms without an event in their lead window.",
                    _ledger("alarms_false"),
                    steps=[(None, NORMAL), (1, YELLOW)],
                    decimals=0,
                ),
                number(
                    "Median lead",
                    "Half of the caught events were announced earlier than this.",
                    f"histogram_quantile(0.5, {LEADS})",
                    unit="s",
                    decimals=0,
                ),
                lines(
                    "Money against never alarming",
                    "The distance between the two lines is what the alarms are worth.",
                    {"never alarming": _ledger("never_alarm_cost"), "realised": _ledger("cost")},
                    span=12,
                    dashed=["never alarming"],
                    steps_drawn=True,
                ),
                bars(
                    "Lead times",
                    "Caught events by lead time: a bar is for up to so many seconds, from where the last one ends.",
                    LEADS,
                    "{{le}}",
                    unit="none",
                    maximum=None,
                    buckets=True,
                ),
                rows(
                    "Ledger by asset",
                    "What was caught and missed, and what it was worth.",
                    {
                        "Caught": _by_asset("events_caught"),
                        "Missed": _by_asset("events_missed"),
                        "False": _by_asset("alarms_false"),
                        "Cost": _by_asset("cost"),
                        "Never alarming": _by_asset("never_alarm_cost"),
                        "Saved": _by_asset("saved"),
                        "Saved, at least": _by_asset("saved_lower"),
                        "Saved, at most": _by_asset("saved_upper"),
                    },
                ),
            ],
        ),
        (
            "Is it right",
            [
                lines(
                    "Calibration: events expected and seen, 24 h",
                    "The sum of the probabilities follows the events when they mean what they say. Of all assets.",
                    {
                        "expected": "sum(increase(stream_detector_expected_events_total[24h]))",
                        "seen": "sum(increase(stream_detector_events_total[24h]))",
                    },
                    dashed=["expected"],
                ),
                lines(
                    "Distribution of the score",
                    "Score divided by its threshold, over all scored steps of the last hour. Of all assets.",
                    {
                        f"{round(100 * part)} %": f"histogram_quantile({part}, {RATIO_BUCKETS})"
                        for part in (0.5, 0.9, 0.99)
                    },
                    unit="none",
                    steps=[(None, NORMAL), (1, RED)],
                ),
                spread(
                    "Scores over time",
                    "Scored steps by their score as part of the threshold: above 1 there is an alarm. Of all assets.",
                    "sum by (le) (increase(stream_detector_score_ratio_bucket[$__rate_interval]))",
                ),
                lines(
                    "Drift",
                    "Population stability index of the newest 500 scores; 0 = none, above 0.25 look at it.",
                    {"{{asset}}": f"max by (asset) (stream_detector_drift_level{ASSET})"},
                    unit="none",
                    steps=[(None, NORMAL), (0.25, RED)],
                ),
            ],
        ),
        (
            "The bundle",
            [
                number(
                    "Bundle in use",
                    "More than one while a new one is being taken over. Of all assets.",
                    "count by (bundle, recipe) (stream_detector_bundle_info)",
                    legend="{{recipe}} {{bundle}}",
                    span=8,
                ),
                number(
                    "Age of its training data",
                    "Since the end of the training data. Of all assets.",
                    "job:stream_detector_bundle_age_seconds:max",
                    unit="s",
                    steps=[(None, NORMAL), (30 * 86_400, ORANGE)],
                    span=8,
                ),
                number(
                    "Loaded",
                    "When the newest was taken over. Of all assets.",
                    "1000 * max(stream_detector_bundle_loaded_timestamp_seconds)",
                    unit="dateTimeAsIso",
                    span=8,
                ),
            ],
        ),
    ]
