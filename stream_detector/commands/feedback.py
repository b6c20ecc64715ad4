"""`stream-detector feedback`: acknowledge, shelve, judge, from the command line."""

from typing import Annotated

import typer


def command(
    action: Annotated[
        str,
        typer.Argument(
            help="Acknowledge, acted, real, false-alarm, unjudge, shelve, unshelve, out-of-service or in-service."
        ),
    ],
    asset: Annotated[str, typer.Option(help="The machine.")],
    alarm: Annotated[str | None, typer.Option(help="Id of the alarm, for what is said of one.")] = None,
    for_: Annotated[str | None, typer.Option("--for", help="Shelve for so long, e.g. 30m, 8h or 2d.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; shelve and out-of-service need it.")] = None,
    who: Annotated[str | None, typer.Option(help="Who says so.", show_default="the user's name")] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka brokers, HOST:PORT.", show_default="$STREAM_DETECTOR_BOOTSTRAP")
    ] = None,
) -> None:
    """Answer an alarm: acknowledge it, say that you acted on it, judge it, or set its asset aside for a reason.

    `acted` without --alarm means every alarm of the asset that speaks of now, as a signal of the plant would.
    """
    import asyncio
    import getpass
    import time

    from pydantic import ValidationError

    from stream_detector.errors import UsageError, in_words
    from stream_detector.messages import MOST_SHELVED_SECONDS, Feedback, to_iso
    from stream_detector.settings import Settings
    from stream_detector.streaming.feeds.feedback import is_known, send_feedback
    from stream_detector.time_options import parse_duration

    now = time.time()
    shelved_seconds = None if for_ is None else parse_duration(for_, "--for")
    if shelved_seconds is not None and shelved_seconds > MOST_SHELVED_SECONDS:
        raise UsageError(
            f"--for {for_}: {MOST_SHELVED_SECONDS / 86_400:g}d at most; "
            "an asset that must rest for longer is taken out of service"
        )
    given = {
        "asset": asset,
        "action": action,
        "alarm": alarm,
        "who": who or getpass.getuser(),
        "at": to_iso(now),
        "until": None if shelved_seconds is None else to_iso(now + shelved_seconds),
        "reason": reason,
    }
    try:
        feedback = Feedback.model_validate(given)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))} {problem['input']!r}: {in_words(problem)}"
            if problem["loc"]
            else in_words(problem)
            for problem in error.errors()
        )
        # The message's own words name its fields; the options have names of their own.
        for field, option in {
            "(until) later than at": "(--for)",
            "needs the id of the alarm": "needs the id of the alarm (--alarm)",
            "needs a reason": "needs a reason (--reason)",
        }.items():
            problems = problems.replace(field, option)
        raise UsageError(problems) from None
    settings = Settings.load(bootstrap=bootstrap)
    if feedback.alarm is not None and not asyncio.run(is_known(settings, feedback.asset, feedback.alarm)):
        raise UsageError(
            f"{feedback.asset} has no alarm {feedback.alarm} in {settings.topic_alarms}; "
            "`stream-detector alarms --from-beginning --json` lists all of them"
        )
    send_feedback(settings, feedback)
    print(f"{feedback.action} of {feedback.alarm or feedback.asset} by {feedback.who} at {feedback.at}")
