"""A real broker of Kafka, and topics on it that tests write to."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from cluster.binaries import installed, kafka_jars
from confluent_kafka import IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from eventually import eventually
from server import Server, accepts, free_port

api: Any = import_module("confluent_kafka.admin")
"""Whose types say less than it has."""

_JAVA = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_LOGIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://{host}:{port},SASL_SSL://127.0.0.1:{login},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{host}:{port},SASL_SSL://localhost:{login}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config={module} required user_ann="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.ms=-1
log.retention.check.interval.ms=300
log.initial.task.delay.ms=100
log.cleaner.backoff.ms=100
metadata.max.idle.interval.ms=0
"""


class Broker:
    """``address``: without login. ``login_address``: with TLS and the password, for ``ann``, on this machine alone."""

    password = "only-for-tests"

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder = folder
        port, self._controller, login = free_port(), free_port(), free_port()
        self.address, self.login_address = f"{host}:{port}", f"localhost:{login}"
        self.authority = certificate(folder)
        settings = _SETTINGS.format(
            module=_LOGIN_MODULE,
            host=host,
            port=port,
            controller=self._controller,
            login=login,
            folder=folder,
            password=self.password,
        )
        (folder / "server.properties").write_text(settings)
        self._java: list[str | Path] = [installed("java"), *_JAVA, "-cp", f"{kafka_jars()}/*"]
        self.server = Server(
            [*self._java, "kafka.Kafka", folder / "server.properties"],
            folder / "broker.log",
            lambda: accepts(port, host) and self._answers(),
        )

    def format(self) -> None:
        """Make the folder that the broker keeps its topics in."""
        command = [*self._java, "kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c"]
        subprocess.run([*command, self._folder / "server.properties"], check=True, capture_output=True)

    @cached_property
    def admin(self) -> AdminClient:
        """Kept: what was asked of a client that is gone has no answer."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def topic(self, partitions: int = 1, **config: str) -> Topic:
        """A new topic. ``config``: with ``_`` for the points of its names."""
        found = Topic(self, f"events-{uuid.uuid4().hex[:8]}")
        found.create(partitions, **config)
        return found

    def _answers(self) -> bool:
        try:
            return bool(self.admin.list_topics(timeout=1).brokers)
        except Exception:  # noqa: BLE001 - not yet, for whatever reason
            return False


class Topic:
    """A topic that a test writes to."""

    kind = "kafka"

    def __init__(self, broker: Broker, name: str) -> None:
        self.broker, self.name = broker, name
        self._producer = Producer(
            {"bootstrap.servers": broker.address, "enable.idempotence": True, "log_level": 0}
        )

    def create(self, partitions: int = 1, **config: str) -> None:
        named = {name.replace("_", "."): value for name, value in config.items()}
        done = self.broker.admin.create_topics([api.NewTopic(self.name, partitions, config=named)])
        done[self.name].result()
        eventually(lambda: self._serves(partitions))

    def delete(self) -> None:
        self.broker.admin.delete_topics([self.name])[self.name].result()

    def grow(self, partitions: int) -> None:
        """Let it have so many partitions."""
        self.broker.admin.create_partitions([api.NewPartitions(self.name, partitions)])[self.name].result()
        eventually(lambda: self._serves(partitions))

    def _serves(self, partitions: int) -> bool:
        """Whether each partition has a leader that answers, and the producer knows all of them."""
        if len(self._producer.list_topics(self.name).topics[self.name].partitions) != partitions:
            return False
        asked = {TopicPartition(self.name, number): api.OffsetSpec.latest() for number in range(partitions)}
        # Which has the admin client look anew, too.
        self.broker.admin.list_topics(self.name)
        try:
            return all(done.result() for done in self.broker.admin.list_offsets(asked).values())
        except KafkaException:
            return False

    def send(self, *values: Any, partition: int = 0, **more: Any) -> None:
        """Messages in the order of the values; bytes as they are, None as a tombstone, all else as JSON."""
        send(self._producer, self.name, values, partition, more)
        self._producer.flush()

    def delete_until(self, partition: int, offset: int) -> None:
        """What retention does, at once."""
        at = TopicPartition(self.name, partition, offset)
        for done in self.broker.admin.delete_records([at]).values():
            done.result()

    def delete_first(self, count: int) -> None:
        """The same of the first partition: of all that ever were, the first so many are gone."""
        self.delete_until(0, count)

    def group(self, name: str) -> dict[int, int]:
        """Partition to the offset that a consumer group has of it."""
        from confluent_kafka import ConsumerGroupTopicPartitions

        told = self.broker.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])
        try:
            return {it.partition: it.offset for it in told[name].result().topic_partitions or ()}
        except KafkaException:
            return {}

    def configure(self, **config: str) -> None:
        resource = api.ConfigResource("topic", self.name)
        for name, value in config.items():
            resource.set_config(name.replace("_", "."), value)
        for done in self.broker.admin.alter_configs([resource]).values():
            done.result()

    @contextmanager
    def transaction(self, *, abort: bool = False) -> Iterator[Producer]:
        """A transaction that is committed at the end of the block, or aborted."""
        producer = Producer(
            {"bootstrap.servers": self.broker.address, "transactional.id": uuid.uuid4().hex, "log_level": 0}
        )
        producer.init_transactions()
        producer.begin_transaction()
        yield producer
        producer.flush()
        if abort:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
        # The coordinator answers before it has written the marks.
        eventually(lambda: self._ends(committed=True) == self._ends(committed=False))

    def _ends(self, *, committed: bool) -> list[int]:
        """Where each partition ends, for those who read what is committed or everything."""
        level = "READ_COMMITTED" if committed else "READ_UNCOMMITTED"
        partitions = self._producer.list_topics(self.name).topics[self.name].partitions
        asked = {TopicPartition(self.name, number): api.OffsetSpec.latest() for number in partitions}
        told = self.broker.admin.list_offsets(asked, isolation_level=IsolationLevel[level])
        return [done.result().offset for done in told.values()]

    def source(self, **more: Any) -> dict[str, Any]:
        """``spec.source`` of a pipeline that reads it."""
        told = {"bootstrapServers": self.broker.address, "topic": self.name, "format": "JSON", **more}
        return {"kafka": told}


def send(
    producer: Producer, topic: str, values: tuple[Any, ...], partition: int = 0, more: Mapping[str, Any] = {}
) -> None:
    for value in values:
        data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        producer.produce(topic, data, partition=partition, **more)


@contextmanager
def broker(folder: Path, host: str = "127.0.0.1") -> Iterator[Broker]:
    """A broker, until the end of the block. ``host``: the address that it listens at.

    Raises:
        MissingError: Kafka was not fetched, or Java is not installed.
    """
    found = Broker(folder, host)
    found.format()
    found.server.start()
    try:
        yield found
    finally:
        found.server.kill()


def certificate(folder: Path) -> str:
    """The certificate of ``localhost``, which it signs itself; key and certificate are in ``server.pem``."""
    key, public = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(installed("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", public),
        ],
        check=True,
        capture_output=True,
    )
    (folder / "server.pem").write_text(key.read_text() + public.read_text())
    return public.read_text()
