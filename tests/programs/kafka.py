"""`make kafka`: start a real Kafka broker for a developer's own tries and print its address until Ctrl-C."""

import argparse
import signal
import sys
import time

from tests.support.stack.kafka import Kafka, why_no_kafka


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.kafka", description="Start real Kafka brokers; Ctrl-C ends them."
    )
    parser.add_argument("--brokers", type=int, default=1, help="how many (default 1)")
    arguments = parser.parse_args()
    reason = why_no_kafka()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    started = time.monotonic()
    with Kafka(arguments.brokers) as kafka:
        print(f"Kafka serves after {time.monotonic() - started:.1f} s; Ctrl-C ends it and removes its data")
        print(f"export STREAM_DETECTOR_BOOTSTRAP={kafka.bootstrap}  # what the product reads")
        print(f"export KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap}  # what the tests read", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("ending")
    return 0


if __name__ == "__main__":
    sys.exit(main())
