"""One Apache Kafka that asks who is there and what each may: SASL, and Kafka's own authorizer."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from stream.lab.embedded import apache_kafka
from stream.lab.embedded.guarded_server import free_ports, new_folder
from tests.support.chart import Right
from tests.support.kafka_clusters import formatted, server

PASSWORD = "a pass phrase"
# Only the broker itself, and the test that sets it up, come without a name.
SETTINGS = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SASL://127.0.0.1:{sasl}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT
listener.name.sasl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=\\
org.apache.kafka.common.security.plain.PlainLoginModule required {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS
# As Kafka is delivered.
auto.create.topics.enable=true
"""
# Numbers of Kafka's protocol.
_OF = {"topic": 2, "group": 3, "cluster": 4, "transactionalId": 5}
_MAY = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
_LITERAL, _PREFIXED, _ALLOW = 3, 4, 3


@dataclass(frozen=True, slots=True)
class Guarded:
    """A running broker: `plain` lets in without a name, who may then do everything."""

    plain: str
    sasl: str

    async def grant(self, user: str, rights: Iterable[Right]) -> None:
        """Let a user do this, as `kafka-acls.sh --add` does; aiokafka has no method for it."""
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=self.plain)
        await admin.start()
        try:
            for right in rights:
                pattern = _PREFIXED if right.prefix else _LITERAL
                for operation in right.may:
                    answer = await admin._send_request(
                        CreateAclsRequest(
                            _OF[right.of],
                            right.name,
                            pattern,
                            f"User:{user}",
                            "*",
                            _MAY[operation],
                            _ALLOW,
                        )
                    )
                    ((code, said),) = answer.creation_responses
                    assert code == 0, said
        finally:
            await admin.close()


@contextmanager
def guarded_broker(users: Iterable[str]) -> Iterator[Guarded]:
    """A running one that knows these users, by PASSWORD; none of them may do anything yet."""
    folder = new_folder("kafka-guarded")
    try:
        port, controller, sasl = free_ports(3)
        base = apache_kafka.SETTINGS.format(port=port, controller_port=controller, folder=folder)
        own = SETTINGS.format(
            port=port,
            controller=controller,
            sasl=sasl,
            users=" ".join(f'user_{name}="{PASSWORD}"' for name in users),
        )
        (folder / "server.properties").write_text(base + own)
        formatted(folder, "--standalone")
        with server(folder, port) as made:
            made.start()
            yield Guarded(f"127.0.0.1:{port}", f"127.0.0.1:{sasl}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
