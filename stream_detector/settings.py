"""Settings: brokers, topics, files, ports and limits, from the environment (`STREAM_DETECTOR_*`).

What the detector does (model, scales, window, threshold, costs) is the bundle's; a threshold never comes from here.
docs/settings.md is generated from this module (`python -m stream_detector.settings > docs/settings.md`).
"""

import ipaddress
import re
from pathlib import Path
from typing import Literal, Self

from pydantic import SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from stream_detector.environment import EnvironmentSettings, setting
from stream_detector.errors import UsageError

PREFIX = "STREAM_DETECTOR_"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class Settings(EnvironmentSettings):
    """Every setting, with its default; `load` reads them from the environment."""

    # The forwarder's own, the bridge's options, and the folder of data that `make` reads.
    elsewhere = (f"{PREFIX}FORWARD_", f"{PREFIX}MQTT_URL", f"{PREFIX}MQTT_PASSWORD_FILE", f"{PREFIX}DATA")

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    bootstrap: str = setting("localhost:9092", "addresses of some of the Kafka brokers, separated by commas")
    group: str = setting("stream-detector", "consumer group; workers of one group share the partitions")
    role: Literal["champion", "challenger"] = setting(
        "champion",
        "a `challenger` decides in a group of its own (GROUP-challenger), and nobody is told of its alarms: they go to "
        "topic_challenger_alarms, for the ledger to compare",
    )
    instance: str | None = setting(
        None, "stable name of this worker within its group: a restarted worker gets its partitions back at once"
    )

    site: str = setting(
        "", "name of the plant: a label of all metrics and of all alarms at their receivers; empty = no label"
    )

    topic_readings: str = setting("plant.readings", "readings, rows, blocks and the events that decisions use")
    topic_events: str = setting("plant.events", "events as people log them; for the ledger only")
    topic_alarms: str = setting("detector.alarms", "alarms raised and cleared")
    topic_scores: str = setting("detector.scores", "scores, where they are published")
    topic_dead_letters: str = setting("detector.dead-letters", "records that could not be used")
    topic_state: str = setting("detector.state", "snapshots of decision state, compacted")
    topic_alarm_states: str = setting("detector.alarm-states", "every change of an alarm's state: who, when, why")
    topic_renewal: str = setting("detector.renewal", "what each round of `trainer renew` decided: who, when, why")
    topic_challenger_alarms: str = setting("detector.challenger-alarms", "alarms of a challenger, for the ledger only")
    topic_challenger_scores: str = setting("detector.challenger-scores", "its scores, where they are published")
    topic_challenger_dead_letters: str = setting("detector.challenger-dead-letters", "records that it could not use")
    topic_assets: str = setting(
        "detector.assets", "how each asset stands, compacted: every console shows the whole plant by it"
    )
    topic_operating: str = setting(
        "detector.operating", "when machines stood, by the bundle's [operating]; for the ledger only"
    )
    topic_feedback: str = setting("operator.feedback", "what operators answer")
    publish_scores: bool = setting(False, "publish every scored step to the topic of scores")

    create_topics: bool = setting(True, "create topics that are missing; otherwise a missing topic is an error")
    topic_partitions: int = setting(4, "partitions of a topic that is created", ge=1, le=10_000)
    topic_replication: int = setting(-1, "copies of a topic that is created; -1 = the broker's default", ge=-1, le=10)
    topic_retention_days: float = setting(7.0, "how long created topics keep records (not the compacted)", "d", gt=0)
    topic_history_days: float = setting(
        730.0,
        "how long created topics keep alarms, events, feedback and alarm states, for the ledger",
        "d",
        gt=0,
    )

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = setting(
        "PLAINTEXT", "how to talk to the brokers"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = setting(
        "SCRAM-SHA-512", "how to log in"
    )
    sasl_username: str | None = setting(None, "user at the brokers; with OAUTHBEARER the client's id at sasl_token_url")
    sasl_password: SecretStr | None = setting(None, "password at the brokers; better is the file")
    sasl_password_file: Path | None = setting(None, "file that holds the password")
    sasl_token_url: str | None = setting(
        None, "OAUTHBEARER: where a token is asked for with the client's id and password (client credentials)"
    )
    sasl_token_scope: str | None = setting(None, "OAUTHBEARER: the scope that is asked for")
    sasl_token_ca_file: Path | None = setting(
        None, "OAUTHBEARER: certificates (PEM) that sign that of sasl_token_url; default: the system's"
    )
    sasl_token_callback: str | None = setting(
        None, "OAUTHBEARER: MODULE:FUNCTION that returns a token and when it expires, instead of sasl_token_url"
    )
    ssl_ca_file: Path | None = setting(None, "certificates (PEM) that sign the brokers'; default: the system's")
    ssl_cert_file: Path | None = setting(None, "this client's certificate (PEM), for mutual TLS")
    ssl_key_file: Path | None = setting(None, "this client's private key (PEM)")
    ssl_key_password_file: Path | None = setting(None, "file that holds the private key's password")
    ssl_check_hostname: bool = setting(True, "refuse a broker whose certificate names another host")

    metrics_host: str = setting("127.0.0.1", "address on which /metrics, /healthz and /readyz listen")
    metrics_port: int = setting(9464, "port of /metrics, /healthz and /readyz; 0 = any free one", ge=0, le=65_535)
    metrics_cert_file: Path | None = setting(None, "certificate (PEM) for metrics over TLS")
    metrics_key_file: Path | None = setting(None, "private key (PEM) for metrics over TLS")
    metrics_token: SecretStr | None = setting(None, "bearer token that /metrics demands; better is the file")
    metrics_token_file: Path | None = setting(None, "file that holds the bearer token")

    console: bool = setting(True, "serve the operators' console on the same address, at /")
    console_token: SecretStr | None = setting(
        None, "token that the console demands; beyond loopback it is for reading only without one; better is the file"
    )
    console_token_file: Path | None = setting(None, "file that holds the console's token")

    console_viewer_token: SecretStr | None = setting(
        None, "token with which the console is for reading only; better is the file"
    )
    console_viewer_token_file: Path | None = setting(None, "file that holds the viewers' token")
    console_proxy: str = setting(
        "",
        "address or network (10.0.0.5, 10.0.0.0/24) of a reverse proxy that signs people in; what it says of who asks "
        "counts, and answers are written under that name",
    )
    console_user_header: str = setting("X-Forwarded-User", "header in which the proxy names who is signed in")
    console_operators: str = setting(
        "", "names, separated by commas, that may answer behind the proxy; empty = everyone it signs in"
    )
    tags_file: Path | None = setting(
        None, "CSV file (name, description, unit, area) that says what sensors and assets are (docs/operators.md)"
    )
    calendar_file: Path | None = setting(
        None,
        "calendar of planned downtime, .toml or iCalendar (docs/operators.md): people are told of no alarms in it, and "
        "the ledger counts none",
    )
    currency: str = setting("", "currency of the bundle's costs, e.g. EUR, as the console writes it")
    console_ledger_days: float = setting(365.0, "how far back the console's ledger reaches (event time)", "d", gt=0)

    bundle: Path | None = setting(
        None,
        "folder of the bundle, REGISTRY/ID, REGISTRY/ALIAS, or a table (.toml) of several, where `--bundle` does not "
        "name it",
    )
    registry: Path | None = setting(
        None, "registry of bundles, a folder or s3://BUCKET/NAME, where `--registry` does not name it"
    )
    bundle_cache: Path | None = setting(
        None, "folder for copies of bundles from a registry in S3; default: stream-detector in the user's cache"
    )
    bundle_public_key_file: Path | None = setting(
        None, "Ed25519 public key (PEM); with it unsigned bundles are refused"
    )
    sensor_assets_file: Path | None = setting(
        None, "JSON file {sensor: asset} for a bus that is keyed by sensor or not keyed: `run` re-keys it first"
    )
    topic_unkeyed: str = setting(
        "plant.raw", "the topic that is re-keyed into the topic of readings, or a regular expression (^...) of several"
    )

    field_mapping_file: Path | None = setting(
        None, "JSON file that says where other people's records keep time, sensor and value (docs/plugging-in.md)"
    )

    schema_registry_url: str | None = setting(
        None, "schema registry of Avro, Protobuf and JSON records on the topics that are read (docs/plugging-in.md)"
    )
    schema_registry_username: str | None = setting(None, "user at the schema registry")
    schema_registry_password_file: Path | None = setting(None, "file that holds that user's password")
    schema_registry_token_file: Path | None = setting(
        None, "file that holds a bearer token for the schema registry, instead of a user; read anew for each question"
    )
    schema_registry_ca_file: Path | None = setting(
        None, "certificates (PEM) that sign the schema registry's; default: the usual ones"
    )

    alarm_schema: Literal["none", "avro", "json"] = setting(
        "none",
        "write alarms under a schema of the registry (subject TOPIC-value): as Avro, or as JSON under a JSON Schema",
    )

    allowed_assets: str = setting(
        "*",
        "globs of the assets that are this group's, separated by commas, beside the bundle's own; the same for all "
        "workers of a group; others are unknown",
    )
    unknown_sensors: Literal["ignore", "dead-letter", "fail"] = setting(
        "ignore",
        "readings of sensors that the bundle does not know: `ignore` (counted), `dead-letter`, or `fail` (exit code 2)",
    )
    unknown_assets: Literal["ignore", "dead-letter", "fail"] = setting(
        "ignore", "the same for assets that fit neither the bundle's glob nor allowed_assets"
    )
    max_assets: int = setting(
        20_000,
        "most assets of one partition, the same for all workers of a group; readings of others are dead letters",
        ge=1,
    )
    evict_after_seconds: float = setting(
        604_800.0,
        "an asset this far behind its partition (event time) is forgotten if it is silent for evict_after_records too",
        "s",
        gt=0,
    )
    evict_after_records: int = setting(
        1_000_000,
        "an asset without a record among the partition's last so many is forgotten if evict_after_seconds are over too",
        ge=1,
    )
    other_limits: Literal["refuse", "accept"] = setting(
        "refuse",
        "where the group runs under other limits (max_assets, evict_after_..., allowed_assets) than this worker's: end "
        "with exit code 2, or let this worker's hold from the committed offset on (docs/reliability.md)",
    )
    mixed_processors: Literal["refuse", "accept"] = setting(
        "refuse",
        "where this worker's scores round otherwise than those of the worker before it (another processor, other "
        "versions of libraries): end with exit code 2, or warn and go on (docs/reliability.md)",
    )
    dead_letters_per_second: float = setting(
        200.0, "most dead letters published; the others are only counted", "1/s", gt=0
    )

    commit_interval_seconds: float = setting(0.5, "how often progress is committed", "s", gt=0, le=60)
    max_poll_records: int = setting(
        16_000, "about the most records in one batch; a batch of a producer is not cut", ge=1, le=1_000_000
    )
    fetch_wait_seconds: float = setting(
        0.5, "how long a broker may hold a fetch back until there is something to send", "s", gt=0, le=10
    )
    fetch_bytes: int = setting(1_048_576, "most bytes of a partition in one fetch", "B", ge=1_024)
    session_timeout_seconds: float = setting(10.0, "a worker silent for longer loses its partitions", "s", ge=1, le=60)
    rebalance_timeout_seconds: float = setting(60.0, "longest time a batch may delay a rebalance", "s", ge=1)

    start_seconds: float = setting(600.0, "how long to wait for a broker at the start; then exit 75", "s", gt=0)
    stall_seconds: float = setting(120.0, "the broker has data but nothing moves for this long: exit 75", "s", gt=0)
    commit_stall_seconds: float = setting(120.0, "a commit is pending for this long: exit 75", "s", gt=0)
    rebalance_stall_seconds: float = setting(300.0, "no assignment for this long: exit 75", "s", gt=0)
    outage_seconds: float = setting(900.0, "the broker is away for this long: exit 75", "s", gt=0)
    shutdown_seconds: float = setting(10.0, "how long an orderly end may take before it is forced", "s", gt=0, le=14)

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting("INFO", "what is logged to standard error")
    log_level_file: Path | None = setting(
        None, "file that holds the level instead; it is read again when it changes, and on SIGHUP"
    )
    log_format: Literal["text", "json"] = setting("text", "how it is logged: lines to read, or one JSON object a line")
    torch_threads: int = setting(
        1, "without effect: a scoring call runs on one thread, which rounds alike everywhere", ge=1
    )

    @field_validator("bootstrap")
    @classmethod
    def _addresses(cls, value: str) -> str:
        addresses = [part.strip() for part in value.split(",") if part.strip()]
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65_536:
                raise ValueError(f"{address!r} is no HOST:PORT; write for example localhost:9092")
        if not addresses:
            raise ValueError("no address given, HOST:PORT is wanted")
        return ",".join(addresses)

    @field_validator("schema_registry_url")
    @classmethod
    def _none_where_empty(cls, address: str | None) -> str | None:
        """Compose hands on a variable that nobody has set as an empty one."""
        return address or None

    @field_validator("console_proxy")
    @classmethod
    def _network(cls, network: str) -> str:
        if network:
            ipaddress.ip_network(network)
        return network

    @field_validator("allowed_assets")
    @classmethod
    def _globs(cls, globs: str) -> str:
        if not any(glob.strip() for glob in globs.split(",")):
            raise ValueError("no glob given; `*` stands for all assets")
        return globs

    @property
    def globs_of_assets(self) -> tuple[str, ...]:
        return tuple(sorted({glob.strip() for glob in self.allowed_assets.split(",") if glob.strip()}))

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.sasl_mechanism == "OAUTHBEARER" and self.security_protocol.startswith("SASL"):
            self._demand_tokens()
        elif self.security_protocol.startswith("SASL") and not self.sasl_username:
            raise ValueError(f"security_protocol = {self.security_protocol} needs sasl_username and a password")
        if (self.ssl_cert_file is None) != (self.ssl_key_file is None):
            raise ValueError("ssl_cert_file and ssl_key_file go together")
        if self.schema_registry_username is not None and self.schema_registry_password_file is None:
            raise ValueError("schema_registry_username needs schema_registry_password_file")
        if self.schema_registry_username is not None and self.schema_registry_token_file is not None:
            raise ValueError("schema_registry_username and schema_registry_token_file exclude each other")
        if self.alarm_schema != "none" and self.schema_registry_url is None:
            raise ValueError("alarm_schema needs schema_registry_url")
        if (self.metrics_cert_file is None) != (self.metrics_key_file is None):
            raise ValueError("metrics_cert_file and metrics_key_file go together")
        return self

    def _demand_tokens(self) -> None:
        if self.sasl_token_callback is not None:
            return
        if self.sasl_token_url is None:
            raise ValueError("OAUTHBEARER needs sasl_token_url or sasl_token_callback")
        if not re.match(r"https://|http://(?:localhost|127\.0\.0\.1|\[::1\])[:/]", self.sasl_token_url):
            raise ValueError("sasl_token_url sends a secret: it begins with https://, or lies on this machine")
        if not self.sasl_username or (self.sasl_password is None and self.sasl_password_file is None):
            raise ValueError("sasl_token_url needs sasl_username and a password: the client's id and secret")

    def in_role(self) -> Self:
        """What a worker of this role, or an audit of it, goes by: a challenger has a group and topics of its own.

        It re-keys nothing, for the champion's workers do that, and shows no console, on which its alarms would look
        like alarms.
        """
        if self.role == "champion":
            return self
        own = {
            "group": f"{self.group}-challenger",
            "topic_alarms": self.topic_challenger_alarms,
            "topic_scores": self.topic_challenger_scores,
            "topic_dead_letters": self.topic_challenger_dead_letters,
            "console": False,
        }
        if self.sensor_assets_file is not None:
            # The mapping was done on the way into the topic of readings.
            own |= {"sensor_assets_file": None, "field_mapping_file": None}
        return self.model_copy(update=own)

    def password(self) -> str | None:
        """The brokers' password, from the file where one is named.

        Raises:
            UsageError: the file cannot be read.
        """
        return _secret(self.sasl_password, self.sasl_password_file, "sasl_password_file")

    def schema_registry_secret(self) -> str | None:
        """The password at the schema registry; UsageError where its file cannot be read."""
        return _secret(None, self.schema_registry_password_file, "schema_registry_password_file")

    def schema_registry_token(self) -> str | None:
        """The bearer token for the schema registry; UsageError where its file cannot be read."""
        return _secret(None, self.schema_registry_token_file, "schema_registry_token_file")

    def level(self) -> str:
        """What is logged, from the file where one is named.

        Raises:
            UsageError: the file cannot be read or holds no level.
        """
        level = _secret(SecretStr(self.log_level), self.log_level_file, "log_level_file")
        if level not in LEVELS:
            raise UsageError(
                f"{PREFIX}LOG_LEVEL_FILE = {self.log_level_file} holds {level!r}; {', '.join(LEVELS)} are wanted"
            )
        return level

    def certificates(self) -> dict[str, Path]:
        """The certificate files that are in use, by the setting that names each."""
        files = {name: getattr(self, name) for name in ("ssl_ca_file", "ssl_cert_file", "metrics_cert_file")}
        return {name: file for name, file in files.items() if file is not None}

    def token(self) -> str | None:
        """The bearer token of the metrics, from the file where one is named.

        Raises:
            UsageError: the file cannot be read.
        """
        return _secret(self.metrics_token, self.metrics_token_file, "metrics_token_file")

    def token_of_console(self) -> str | None:
        """The token of the console, from the file where one is named; empty is none.

        Raises:
            UsageError: the file cannot be read.
        """
        return _secret(self.console_token, self.console_token_file, "console_token_file") or None

    def token_of_viewers(self) -> str | None:
        """The token with which the console is for reading only, from the file where one is named; empty is none.

        Raises:
            UsageError: the file cannot be read.
        """
        return _secret(self.console_viewer_token, self.console_viewer_token_file, "console_viewer_token_file") or None


def _secret(value: SecretStr | None, file: Path | None, name: str) -> str | None:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{PREFIX}{name.upper()} = {file} cannot be read: {error}") from None
    return None if value is None else value.get_secret_value()


def to_markdown() -> str:
    """The text of docs/settings.md."""
    return f"""\
# Settings

Read from the environment at the start. Options of a command win. Generated by
`python -m stream_detector.settings > docs/settings.md`.

{Settings.table()}
Other programs of ours read, beside these:

| variable | read by |
|---|---|
| `{PREFIX}FORWARD_...` | `forward`: [operators.md](operators.md#settings) |
| `{PREFIX}MQTT_URL`, `{PREFIX}MQTT_PASSWORD_FILE` | `mqtt-bridge`, in place of `--mqtt` and `--password-file` |
| `INFLUX_PASSWORD`, `INFLUX_TOKEN` | `trainer fit --from-sql influxdb://...`; PostgreSQL's are libpq's own |
"""


if __name__ == "__main__":
    print(to_markdown(), end="")
