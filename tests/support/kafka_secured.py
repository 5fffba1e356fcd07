"""One Apache Kafka with all ways in: TLS, SASL over TLS, clients' certificates, and a slow way."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stream.lab.embedded import apache_kafka
from stream.lab.embedded.guarded_server import free_ports, new_folder
from tests.support.certificates import HOST, authority, signed
from tests.support.kafka_clusters import formatted, server

USER, PASSWORD = "ringfence", "a pass phrase"
SETTINGS = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},\
SASL://127.0.0.1:{sasl},MUTUAL://127.0.0.1:{mutual},SLOW://127.0.0.1:{behind},\
OAUTH://127.0.0.1:{oauth}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl},\
MUTUAL://127.0.0.1:{mutual},SLOW://127.0.0.1:{slow},OAUTH://127.0.0.1:{oauth}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SLOW:PLAINTEXT,\
SASL:SASL_SSL,MUTUAL:SSL,OAUTH:SASL_PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.mutual.ssl.client.auth=required
listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{user}="{password}";
# Tokens without a signature, which only tests may take.
listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oauth.oauthbearer.sasl.jaas.config=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
unsecuredLoginStringClaim_sub="broker";
listener.name.oauth.oauthbearer.connections.max.reauth.ms=2000
# A connection is closed when its authentication is this old, however busy it is (KIP-368).
listener.name.sasl.scram-sha-512.connections.max.reauth.ms=2000
"""


@dataclass(frozen=True, slots=True)
class Secured:
    """A running broker's ways in, and the files of its authority.

    `slow` is what it tells those to connect to who ask `behind`: nobody listens there yet.
    """

    plain: str
    sasl: str
    mutual: str
    oauth: str
    behind: int
    slow: int
    folder: Path

    def file(self, name: str) -> str:
        """`ca`, `client`, `client-key`, and `other-ca`, which signed nothing."""
        return str(self.folder / f"{name}.pem")


@contextmanager
def secured_broker() -> Iterator[Secured]:
    """A running one."""
    folder = new_folder("kafka-secured")
    try:
        _certificates(folder)
        port, controller, sasl, mutual, behind, slow, oauth = free_ports(7)
        base = apache_kafka.SETTINGS.format(port=port, controller_port=controller, folder=folder)
        ports = {
            "sasl": sasl, "mutual": mutual, "behind": behind, "slow": slow, "oauth": oauth,
        }  # fmt: skip
        own = SETTINGS.format(
            **ports, port=port, controller=controller, folder=folder, user=USER, password=PASSWORD
        )
        (folder / "server.properties").write_text(base + own)
        scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        formatted(folder, "--standalone", "--add-scram", scram)
        with server(folder, port) as made:
            made.start()
            plain, by_sasl, by_key, by_token = (
                f"127.0.0.1:{one}" for one in (port, sasl, mutual, oauth)
            )
            yield Secured(plain, by_sasl, by_key, by_token, behind, slow, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _certificates(folder: Path) -> None:
    """An authority, what it signed for the broker and a client, and another authority."""
    for name in ("ca", "other-ca"):
        authority(folder, name)
    signed(folder, "broker", HOST)
    signed(folder, "client")
    # Kafka wants a key and its certificates in one file.
    both = (folder / "broker-key.pem").read_text() + (folder / "broker.pem").read_text()
    (folder / "broker.pem").write_text(both)
