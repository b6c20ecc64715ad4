"""The Model dashboard: is the bundle still right, and does it pay?"""

from collections.abc import Sequence

from deploy.grafana.panels import GREEN, ORANGE, RED, YELLOW, Panel, bars, lines, number, rows

ASSET = '{asset=~"$asset"}'
RATIO_BUCKETS = "sum by (le) (rate(stream_detector_score_ratio_bucket[1h]))"


def _ledger(name: str) -> str:
    # Every detector that serves the ledger shows the same figures: take one of them, then sum over assets.
    return f"sum(max by (asset) (stream_detector_ledger_{name}{ASSET}))"


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
                    steps=[(None, RED), (0, GREEN)],
                    decimals=0,
                ),
                number(
                    "At least",
                    "Lower end of the 90 % interval of the saving, the assets added up.",
                    _ledger("saved_lower"),
                    steps=[(None, ORANGE), (0, GREEN)],
                    decimals=0,
                ),
                number("Caught", "Events with an alarm up in their lead window.", _ledger("events_caught"), decimals=0),
                number(
                    "Missed",
                    "Events without one.",
                    _ledger("events_missed"),
                    steps=[(None, GREEN), (1, ORANGE)],
                    decimals=0,
                ),
                number(
                    "False alarms",
                    "Alarms without an event in their lead window.",
                    _ledger("alarms_false"),
                    steps=[(None, GREEN), (1, YELLOW)],
                    decimals=0,
                ),
                number(
                    "Median lead",
                    "Half of the caught events were announced earlier than this.",
                    "histogram_quantile(0.5, sum by (le) (stream_detector_ledger_lead_seconds_bucket))",
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
                    "Caught events, by lead time at most.",
                    "sum by (le) (stream_detector_ledger_lead_seconds_bucket)",
                    "at most {{le}} s",
                    unit="none",
                    maximum=None,
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
                    "The sum of the probabilities follows the events when the probability means what it says.",
                    {
                        "expected": "sum(increase(stream_detector_expected_events_total[24h]))",
                        "seen": "sum(increase(stream_detector_events_total[24h]))",
                    },
                    dashed=["expected"],
                ),
                lines(
                    "Distribution of the score",
                    "Score divided by its threshold, over all scored steps of the last hour.",
                    {
                        f"{round(100 * part)} %": f"histogram_quantile({part}, {RATIO_BUCKETS})"
                        for part in (0.5, 0.9, 0.99)
                    },
                    unit="none",
                    steps=[(None, GREEN), (1, RED)],
                ),
                bars(
                    "Scores, 24 h",
                    "Scored steps with a score of at most this part of the threshold.",
                    "sum by (le) (increase(stream_detector_score_ratio_bucket[24h]))",
                    "at most {{le}}",
                    unit="none",
                    maximum=None,
                ),
                lines(
                    "Drift",
                    "Population stability index of the newest 500 scores; 0 = none, above 0.25 look at it.",
                    {"{{asset}}": f"max by (asset) (stream_detector_drift_level{ASSET})"},
                    unit="none",
                    steps=[(None, GREEN), (0.25, RED)],
                ),
            ],
        ),
        (
            "The bundle",
            [
                number(
                    "Bundle in use",
                    "More than one while a new one is being taken over.",
                    "count by (bundle, recipe) (stream_detector_bundle_info)",
                    legend="{{recipe}} {{bundle}}",
                    span=8,
                ),
                number(
                    "Age of its training data",
                    "Since the end of the training data.",
                    "job:stream_detector_bundle_age_seconds:max",
                    unit="s",
                    steps=[(None, GREEN), (30 * 86_400, ORANGE)],
                    span=8,
                ),
                number(
                    "Loaded",
                    "When the newest was taken over.",
                    "1000 * max(stream_detector_bundle_loaded_timestamp_seconds)",
                    unit="dateTimeAsIso",
                    span=8,
                ),
            ],
        ),
    ]
