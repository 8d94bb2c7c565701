"""One topic as its brokers tell of it: which one it is, its partitions, and where each begins and ends.

Asked with the admin client, which joins no group, reads no message and makes no topic. Ends are those of committed
transactions: what is after one that is open is not there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from threading import Lock
from typing import Any

from featurestore.arrivals.kafka.login import login
from featurestore.arrivals.position import Position
from featurestore.arrivals.streams.stream_client import Found, Look
from featurestore.errors import CodeError, StorageError
from featurestore.resources.kafka import Kafka

_TIMEOUT_S = 5.0
_UNKNOWN_TOPIC = "UNKNOWN_TOPIC_OR_PART"
_AWAY = ("_TIMED_OUT", "_TRANSPORT", "_ALL_BROKERS_DOWN", "_RESOLVE", "_AUTHENTICATION", "_SSL")


@dataclass(frozen=True, slots=True)
class Topic:
    """``id``: another one for a topic of the same name that was made anew. ``partitions``: in no order."""

    name: str
    id: str
    partitions: tuple[int, ...]

    @property
    def uri(self) -> str:
        """What the URIs of its partitions begin with."""
        return f"kafka://{self.name}/{self.id}"


class TopicClient:
    """Asks about one topic. ``environ``: has what it takes to log in; None for the process's own environment."""

    def __init__(self, kafka: Kafka, environ: Mapping[str, str] | None) -> None:
        self._topic = kafka.topic
        self.where = kafka.place
        self._options = options(kafka.bootstrap_servers, kafka.place, environ)
        self._watched: Topic | None = None

    def look(self) -> Look | None:
        """See :class:`featurestore.arrivals.streams.stream_client.StreamClient`."""
        topic = self.topic()
        if topic is None:
            return None
        return Look(topic.uri, self.begins(topic.partitions), self.ends(topic.partitions))

    def grown(self) -> Mapping[str, Found]:
        try:
            topic = self._watched = self._watched or self.topic()
            ends = self.ends(topic.partitions) if topic is not None else {}
        except StorageError:
            self._watched = None
            raise
        return {f"{topic.uri}/{partition}": end for partition, end in ends.items()} if topic else {}

    def count(self, first: int, end: int, most: int) -> tuple[int, int]:
        counted = min(end - first, most)
        return counted, first + counted

    def span(self, position: Position) -> str:
        return f"offsets {position.first} to {position.end - 1}"

    def topic(self) -> Topic | None:
        """What it is now; None if there is none of that name.

        Raises:
            StorageError: no broker answered, or it must not be seen.
        """
        require_client(self.where)
        from confluent_kafka import KafkaException, TopicCollection

        with answering("the topic cannot be looked at", self.where, self._last_error):
            try:
                described = self._admin().describe_topics(
                    TopicCollection([self._topic]), request_timeout=_TIMEOUT_S
                )
                description = described[self._topic].result()
            except KafkaException as error:
                if error.args[0].name() == _UNKNOWN_TOPIC:
                    return None
                raise
        name = str(description.topic_id).replace("+", "-").replace("/", "_")
        return Topic(self._topic, name, tuple(partition.id for partition in description.partitions))

    def begins(self, partitions: tuple[int, ...]) -> dict[int, int | StorageError]:
        """Partition to the first offset that is still there; or why it is not known."""
        return self._offsets(partitions, lambda spec: spec.earliest())

    def ends(self, partitions: tuple[int, ...]) -> dict[int, int | StorageError]:
        """Partition to the offset after the last that may be read; or why it is not known."""
        return self._offsets(partitions, lambda spec: spec.latest())

    def since(
        self, look: Look, partitions: Sequence[int], milliseconds: int
    ) -> dict[int, int | StorageError]:
        """Partition to its first offset of this time (since 1970) or later; -1 if there is none, or why it is not known."""
        return self._offsets(tuple(partitions), lambda spec: spec.for_timestamp(milliseconds))

    def set_group(self, group: str, ends: Mapping[int, int]) -> None:
        """Set the group's offsets: those after what was taken of each partition.

        Raises:
            StorageError: it has members of its own, must not be changed, or no broker answered.
        """
        with answering("the group's offsets cannot be set", self.where, self._last_error):
            from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

            at = [TopicPartition(self._topic, partition, end) for partition, end in ends.items()]
            asked = [ConsumerGroupTopicPartitions(group, at)]
            altered = self._admin().alter_consumer_group_offsets(asked, request_timeout=_TIMEOUT_S)
            for one in altered[group].result().topic_partitions:
                if one.error is not None:
                    raise StorageError(
                        "the group's offsets cannot be set", where=self.where, got=one.error.str()
                    )

    def _offsets(
        self, partitions: tuple[int, ...], meant: Callable[[Any], Any]
    ) -> dict[int, int | StorageError]:
        offsets = self._ask(partitions, meant)
        failed = tuple(partition for partition, answer in offsets.items() if isinstance(answer, StorageError))
        if failed:
            # The client keeps where partitions are: one that was added, or has another leader, is found by a new look.
            with answering("the topic cannot be looked at", self.where, self._last_error):
                self._admin().list_topics(self._topic, timeout=_TIMEOUT_S)
            offsets |= self._ask(failed, meant)
        return offsets

    def _ask(self, partitions: tuple[int, ...], meant: Callable[[Any], Any]) -> dict[int, int | StorageError]:
        if not partitions:
            return {}
        require_client(self.where)
        from confluent_kafka import IsolationLevel, TopicPartition

        spec = meant(_admin_api().OffsetSpec)
        asked = {TopicPartition(self._topic, partition): spec for partition in partitions}
        with answering("the topic's offsets cannot be looked at", self.where, self._last_error):
            listed = self._admin().list_offsets(
                asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_TIMEOUT_S
            )
        offsets: dict[int, int | StorageError] = {}
        for at, answer in listed.items():
            where = f"{self.where}, partition {at.partition}"
            try:
                with answering("a partition's offsets cannot be looked at", where, self._last_error):
                    offsets[at.partition] = answer.result().offset
            except StorageError as error:
                offsets[at.partition] = error
        return offsets

    def _admin(self) -> Any:
        return _client(tuple(sorted(self._options.items())))[0]

    def _last_error(self) -> str:
        """What the client said last of its connections: its exceptions say only that time is over."""
        admin, errors = _client(tuple(sorted(self._options.items())))
        admin.poll(0)
        return errors[-1] if errors else ""


def options(servers: str, place: str, environ: Mapping[str, str] | None) -> dict[str, str]:
    """What any client of the brokers is told: where they are, how to log in, and how long to wait.

    Raises:
        SpecError: what is said of logging in has no meaning.
    """
    return {
        "bootstrap.servers": servers,
        **login(environ, place),
        "client.id": "featurestore",
        "socket.connection.setup.timeout.ms": "5000",
        "reconnect.backoff.max.ms": "1000",
        "allow.auto.create.topics": "false",
        # What matters is raised; else a broker that is away is told on standard error again and again.
        "log_level": "0",
    }


@contextmanager
def answering(problem: str, where: str, last_error: Callable[[], str] = str) -> Iterator[None]:
    """What the client raises becomes a StorageError, with what it said last of its connections.

    Raises:
        CodeError: the client is not installed.
    """
    require_client(where)
    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as error:
        kafka_error = error.args[0]
        text = kafka_error.str() if hasattr(kafka_error, "str") else str(error)
        more = last_error() if hasattr(kafka_error, "name") and kafka_error.name() in _AWAY else ""
        raise StorageError(problem, where=where, got=f"{text}; {more}" if more else text) from error


def require_client(where: str) -> None:
    """Raises CodeError if the client of Kafka is not installed."""
    try:
        import confluent_kafka  # noqa: F401
    except ImportError as error:
        hint = "pip install 'featurestore[kafka]'"
        raise CodeError("Kafka needs a package", where=where, got=str(error), hint=hint) from error


_MAKING = Lock()


def _client(options: tuple[tuple[str, str], ...]) -> tuple[Any, list[str]]:
    """A client that all topics of the same brokers share, and what it says of its connections."""
    with _MAKING:
        # One that another thread made as well would be ended while it is asked.
        return _kept_client(options)


@lru_cache(maxsize=256)
def _kept_client(options: tuple[tuple[str, str], ...]) -> tuple[Any, list[str]]:
    errors: list[str] = []

    def note(error: Any) -> None:
        # That all brokers are down is told after each of them has said why.
        if error.name() != "_ALL_BROKERS_DOWN":
            errors[:] = [error.str()]

    return _admin_api().AdminClient({**dict(options), "error_cb": note}), errors


def _admin_api() -> Any:
    """The client's module, whose types say less than it takes."""
    return import_module("confluent_kafka.admin")
