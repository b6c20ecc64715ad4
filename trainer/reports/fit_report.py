"""HTML reports: one self-contained file each, with plotly's own script inside."""

from html import escape
from typing import TYPE_CHECKING

from stream_detector.bundle.bundle import Bundle
from stream_detector.bundle.manifest import Manifest
from trainer.data.dataset import Dataset
from trainer.data.spectrum import spectra
from trainer.evaluation.evaluate import Evaluation, in_words
from trainer.evaluation.scored import ScoredRows
from trainer.fitting.fit import Fitted
from trainer.fitting.head_fit import Walked

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from trainer.data.spectrum import Spectra

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .2rem; } p { margin: .3rem 0; }
.muted { color: #5b6b7b; } table { border-collapse: collapse; margin: .6rem 0; }
td, th { padding: .15rem .9rem .15rem 0; text-align: left; vertical-align: top; }
.verdict { border-left: 4px solid #2f6f9f; padding: .3rem .9rem; background: #f3f7fa; }
"""

Section = tuple[str, str, "go.Figure | None"]
"""Heading, text (HTML) and figure."""


def fit_report(fitted: Fitted) -> str:
    """What was learnt, how the threshold was chosen, and how it does on the part that nothing was chosen on."""
    from trainer.reports import fit_figures as figures

    manifest = fitted.bundle.manifest
    sections: list[Section] = [("Verdict on the newest part", _words(fitted.evaluation), None)]
    if fitted.losses.train:
        kept, last = fitted.losses.best + 1, len(fitted.losses.train)
        text = (
            f"<p>Epoch {kept} of {last}, the one with the lowest loss on the held-out windows, was kept.</p>"
            + (
                "<p>It is the last one: more epochs (<code>[train] epochs</code>) may do better.</p>"
                if kept == last
                else ""
            )
            + "<p>The loss of an epoch's training is the mean over that epoch, so it may lie above the held-out loss, "
            "which is taken at its end.</p>"
        )
        sections.append(("Training", text, figures.losses(fitted.losses)))
    if manifest.operating is not None:
        share = fitted.not_running / max(1, len(fitted.dataset))
        text = (
            f"<p>It runs when <code>{escape(manifest.operating.when)}</code> holds. In {fitted.not_running:,} of "
            f"{len(fitted.dataset):,} rows ({share:.1%}) it did not, start-up included: they were not learnt from, not "
            "scored and not priced.</p>"
        )
        sections.append(("When the machine runs", text, None))
    cycles = spectra(fitted.dataset, manifest.grid)
    if cycles is not None:
        sections.append(("Spectra of the sensors", _cycles(cycles), figures.sensor_spectra(cycles)))
    text = f"<p>Threshold {escape(manifest.threshold_in_words)}.</p>"
    if len(fitted.validation):
        sections.append(
            ("Scores of the validation part", text, figures.score_distribution(manifest, fitted.validation))
        )
    else:
        sections.append(("Threshold", text, None))
    if fitted.walked is not None:
        sections += walked_days(fitted.walked, manifest.alarm_threshold)
    if _labelled(fitted.validation):
        text = "<p>The threshold was chosen on this part.</p>"
        sections.append(
            ("Cost against threshold, validation part", text, figures.cost_curve(manifest, fitted.validation))
        )
    sections += _judged(fitted.bundle, fitted.dataset, fitted.test, fitted.evaluation)
    return _page(f"Fit of {manifest.recipe}", manifest, sections)


def walked_days(walked: Walked, threshold: float) -> list[Section]:
    """How the calibration did on each day before it had learnt from it."""
    from trainer.reports import curve_figures as curves

    level, positive = walked.probability, walked.positive
    heading = "Days predicted before they were learnt from"
    if not positive.any() or positive.all():
        return [(heading, "<p>No event lies in them: nothing can be said about the probabilities.</p>", None)]
    alarms, right = int((level > threshold).sum()), int((positive & (level > threshold)).sum())
    text = (
        f"<p>Each day by what was learnt from the days before it: {len(level):,} rows, {int(positive.sum()):,} of them "
        f"before an event. Above the threshold of {threshold:.4g} were {alarms:,} rows, {right:,} of them rightly. One "
        "number of the calibration, its offset, was chosen on all of these days; <code>trainer backtest</code> "
        "chooses nothing on the days that it judges.</p>"
    )
    return [
        (heading, text, curves.reliability(level, positive)),
        (
            "Precision, recall and F1 of these days against the threshold",
            "",
            curves.precision_and_recall(level, positive, threshold),
        ),
        ("Trade-offs on these days", "", curves.trade_offs(level, positive, threshold)),
    ]


def _cycles(cycles: "Spectra") -> str:
    hours = cycles.period_seconds[0] > 2 * 3600
    shown = [
        f"{escape(name)} {period / 3600:.3g} h" if hours else f"{escape(name)} {period:.3g} s"
        for name, period in cycles.strongest()[:8]
    ]
    return f"<p>The period with the largest share of each sensor's variance: {', '.join(shown) or 'none moves'}.</p>"


def evaluation_report(bundle: Bundle, dataset: Dataset, scored: ScoredRows, evaluation: Evaluation, which: str) -> str:
    """How a bundle does on the rows of a file; `which` says in words which rows these are."""
    text = f"<p>{escape(dataset.name)}: {escape(which)}.</p>{_words(evaluation)}"
    sections: list[Section] = [("Verdict", text, None), *_judged(bundle, dataset, scored, evaluation)]
    return _page(f"Evaluation of {bundle.manifest.recipe}", bundle.manifest, sections)


def _judged(bundle: Bundle, dataset: Dataset, scored: ScoredRows, evaluation: Evaluation) -> list[Section]:
    from trainer.reports import fit_figures as figures

    if not len(scored):
        return []
    manifest = bundle.manifest
    sections: list[Section] = [
        ("Score over time", "", figures.score_over_time(manifest, dataset, scored)),
        ("Distribution of scores", "", figures.score_distribution(manifest, scored)),
    ]
    if _labelled(scored):
        text = "<p>What each threshold would have cost on these rows. The threshold was not chosen on them.</p>"
        sections.append(("Cost against threshold", text, figures.cost_curve(manifest, scored)))
        sections += _curves(manifest, scored)
    if evaluation.confusion is not None:
        sections.append(("Confusion matrix", _numbers(evaluation), figures.confusion(evaluation.confusion)))
    pair = figures.reconstruction(bundle, dataset, scored)
    if pair is not None:
        text = "<p>The window with the highest score, in scaled units, its four sensors with the largest error.</p>"
        sections.append(("Input against reconstruction", text, pair))
    return sections


def _curves(manifest: Manifest, scored: ScoredRows) -> list[Section]:
    from trainer.reports import curve_figures as curves

    assert scored.positive is not None
    level, positive = scored.level, scored.positive
    threshold = manifest.alarm_threshold if manifest.raises_alarms else None
    sections: list[Section] = [
        ("Precision, recall and F1 against the threshold", "", curves.precision_and_recall(level, positive, threshold)),
        ("Trade-offs", "", curves.trade_offs(level, positive, threshold)),
    ]
    if scored.probability is not None:
        sections.insert(0, ("Reliability of the probabilities", "", curves.reliability(level, positive)))
    return sections


def _labelled(scored: ScoredRows) -> bool:
    return scored.positive is not None and bool(scored.positive.any()) and not bool(scored.positive.all())


def _words(evaluation: Evaluation) -> str:
    return f'<div class="verdict">{"".join(f"<p>{escape(line)}</p>" for line in in_words(evaluation))}</div>'


def _numbers(evaluation: Evaluation) -> str:
    rows = {
        "accuracy": evaluation.accuracy,
        "precision": evaluation.precision,
        "recall": evaluation.recall,
        "F1": evaluation.f1,
        "false-alarm rate, of the normal rows": evaluation.frr,
        "missed-alarm rate, of the rows that call for an alarm": evaluation.far,
        "mean of both rates": evaluation.ie,
        "area under ROC": evaluation.auroc,
        "average precision": evaluation.average_precision,
    }
    cells = "".join(
        f"<tr><td>{name}</td><td>{'n/a' if value is None else f'{value:.4f}'}</td></tr>" for name, value in rows.items()
    )
    return f"<table>{cells}</table><p>The shade of a field is its share of its line.</p>"


def _page(title: str, manifest: Manifest, sections: list[Section]) -> str:
    from plotly.io import to_html
    from plotly.offline import get_plotlyjs

    body = []
    for heading, text, figure in sections:
        drawn = "" if figure is None else to_html(figure, include_plotlyjs=False, full_html=False)
        body.append(f"<h2>{escape(heading)}</h2>{text}{drawn}")
    training = manifest.training
    about = (
        f"bundle {manifest.bundle_id or 'not written'} · {len(manifest.sensors)} sensors · windows of "
        f"{manifest.window.steps} steps of {manifest.grid.step_seconds:g} s · learnt from {training.windows:,} windows "
        f"of {training.data_name} · seed {training.seed}"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body><h1>{escape(title)}</h1>"
        f'<p class="muted">{escape(about)}</p>{"".join(body)}</body></html>\n'
    )
