"""A real broker with every kind of door: TLS, mutual TLS, SASL PLAIN, SCRAM, tokens over TLS, and lists of rights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.stack.certificates import Authority
from tests.support.stack.kafka import Kafka

USER, PASSWORD = "detector", "s3cret-of-the-test"
DOORS = {"TLS": "SSL", "MUTUAL": "SSL", "PASSWORD": "SASL_SSL", "SCRAM": "SASL_SSL", "TOKEN": "SASL_SSL"}


@dataclass(frozen=True)
class Secured:
    """The running broker and what a client needs for each door."""

    kafka: Kafka
    authority: Authority

    def variables(self, door: str, folder: Path) -> dict[str, str]:
        """The environment of a client at that door."""
        found = {
            "STREAM_DETECTOR_BOOTSTRAP": self.kafka.address(door),
            "STREAM_DETECTOR_SSL_CA_FILE": str(self.authority.file),
        }
        if door == "MUTUAL":
            certificate, key = self.authority.issue("detector")
            found |= {"STREAM_DETECTOR_SSL_CERT_FILE": str(certificate), "STREAM_DETECTOR_SSL_KEY_FILE": str(key)}
        if door in ("TLS", "MUTUAL"):
            return found | {"STREAM_DETECTOR_SECURITY_PROTOCOL": "SSL"}
        if door == "TOKEN":
            return found | {
                "STREAM_DETECTOR_SECURITY_PROTOCOL": "SASL_SSL",
                "STREAM_DETECTOR_SASL_MECHANISM": "OAUTHBEARER",
                "STREAM_DETECTOR_SASL_TOKEN_CALLBACK": "tests.support.stack.tokens:made",
            }
        password = folder / "password"
        password.write_text(PASSWORD + "\n")
        return found | {
            "STREAM_DETECTOR_SECURITY_PROTOCOL": "SASL_SSL",
            "STREAM_DETECTOR_SASL_MECHANISM": "PLAIN" if door == "PASSWORD" else "SCRAM-SHA-512",
            "STREAM_DETECTOR_SASL_USERNAME": USER,
            "STREAM_DETECTOR_SASL_PASSWORD_FILE": str(password),
        }

    def give_password(self, password: str) -> None:
        """Another password for our user at the SCRAM door; connections that are open are not asked for it."""
        from confluent_kafka.admin import (
            AdminClient,
            ScramCredentialInfo,
            ScramMechanism,
            UserScramCredentialUpsertion,
        )

        given = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(USER, given, password.encode())
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        admin.alter_user_scram_credentials([change])[USER].result(10)

    def allow(self, kind: str, name: str, operation: str) -> None:
        """Let our user do one thing; said through the plain listener, whose anonymous clients are super users."""
        from confluent_kafka.admin import (
            AclBinding,
            AclOperation,
            AclPermissionType,
            AdminClient,
            ResourcePatternType,
            ResourceType,
        )

        binding = AclBinding(
            ResourceType[kind.upper()], name, ResourcePatternType.LITERAL, f"User:{USER}", "*",
            AclOperation[operation.upper()], AclPermissionType.ALLOW,
        )  # fmt: skip
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap, "log_level": 0})
        admin.create_acls([binding])[binding].result(10)


@contextmanager
def secured_kafka(folder: Path, *, acls: bool = False) -> Iterator[Secured]:
    """Start the broker; with `acls`, only the plain listener's anonymous clients may do what no list allows."""
    authority = Authority(folder / "authority")
    store = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.keystore("broker")),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.password.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.password.plain.sasl.jaas.config": (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        ),
        "listener.name.token.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.token.oauthbearer.sasl.jaas.config": (
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
            'unsecuredLoginStringClaim_sub="broker";'
        ),
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }
    if acls:
        store |= {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
    scram = ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]
    with Kafka(config=store, listeners=DOORS, format_arguments=scram) as kafka:
        yield Secured(kafka, authority)
