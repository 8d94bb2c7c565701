"""Events of object storage as they come from NATS, a topic of Kafka or a channel of Redis.

What was sent before somebody listens is not heard, and nothing is acknowledged: a hint that is lost is found by a listing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Event
from typing import Any

from featurestore.arrivals.kafka.topic import answering, options
from featurestore.arrivals.nats.login import NatsLogin
from featurestore.arrivals.nats.nats_connection import connection, require_client
from featurestore.arrivals.redis.stream_key import explained, redis_client
from featurestore.errors import StorageError
from featurestore.resources.notifications import (
    Carrier,
    KafkaNotifications,
    NatsNotifications,
    RedisNotifications,
)

_WAIT_S = 0.5


def bodies(carrier: Carrier, environ: Mapping[str, str] | None, stop: Event) -> Iterator[bytes | None]:
    """What is sent, until ``stop`` is set; None each time that nothing came for a while, and once it is listened.

    Raises:
        StorageError: nobody answers, or not any more.
        CodeError: the client is not installed.
    """
    if isinstance(carrier, NatsNotifications):
        return _from_nats(carrier, environ, stop)
    if isinstance(carrier, KafkaNotifications):
        return _from_kafka(carrier, environ, stop)
    return _from_redis(carrier, environ, stop)


def _from_nats(
    carrier: NatsNotifications, environ: Mapping[str, str] | None, stop: Event
) -> Iterator[bytes | None]:
    require_client(carrier.place)
    link = connection(carrier.servers, NatsLogin.of(environ))

    async def subscribed(client: Any) -> Any:
        subscription = await client.subscribe(carrier.subject, pending_msgs_limit=10_000)
        await client.flush()
        return subscription

    subscription = link.run(subscribed, carrier.place)

    async def following(client: Any) -> bytes | None:
        try:
            return bytes((await subscription.next_msg(timeout=_WAIT_S)).data)
        except TimeoutError:
            if client is not subscription._conn:
                # The connection was lost, and another one was made.
                raise StorageError("the subscription ended", where=carrier.place) from None
            return None

    async def left(_: Any) -> None:
        await subscription.unsubscribe()

    try:
        yield None
        while not stop.is_set():
            yield link.run(following, carrier.place)
    finally:
        _quietly(lambda: link.run(left, carrier.place))


def _from_kafka(
    carrier: KafkaNotifications, environ: Mapping[str, str] | None, stop: Event
) -> Iterator[bytes | None]:
    with answering("the topic of notifications cannot be read", carrier.place):
        from confluent_kafka import OFFSET_END, Consumer, TopicPartition

        consumer = Consumer(
            {
                **options(carrier.bootstrap_servers, carrier.place, environ),
                # Needed by the client, and never joined: partitions are assigned, and nothing is committed.
                "group.id": "featurestore-notifications",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "latest",
            }
        )
    try:
        with answering("the topic of notifications cannot be read", carrier.place):
            topic = consumer.list_topics(carrier.topic, timeout=5).topics[carrier.topic]
            if topic.error is not None:
                raise StorageError(
                    "the topic of notifications cannot be read", where=carrier.place, got=topic.error.str()
                )
            ends = [
                TopicPartition(
                    carrier.topic,
                    number,
                    consumer.get_watermark_offsets(TopicPartition(carrier.topic, number), timeout=5)[1],
                )
                for number in topic.partitions
            ]
            consumer.assign(ends or [TopicPartition(carrier.topic, 0, OFFSET_END)])
        yield None
        while not stop.is_set():
            with answering("the topic of notifications cannot be read", carrier.place):
                message = consumer.poll(_WAIT_S)
            if message is None:
                yield None
            elif (error := message.error()) is None:
                yield message.value()
            elif (
                not (error.retriable() or error.name().startswith("_")) or error.name() == "_ALL_BROKERS_DOWN"
            ):
                raise StorageError(
                    "the topic of notifications cannot be read", where=carrier.place, got=error.str()
                )
    finally:
        consumer.close()


def _from_redis(
    carrier: RedisNotifications, environ: Mapping[str, str] | None, stop: Event
) -> Iterator[bytes | None]:
    with explained("the channel of notifications cannot be read", carrier.place):
        listening = redis_client(carrier.url, environ).pubsub(ignore_subscribe_messages=True)
    try:
        with explained("the channel of notifications cannot be read", carrier.place):
            listening.subscribe(carrier.channel)
            listening.get_message(timeout=5)
        yield None
        while not stop.is_set():
            with explained("the channel of notifications cannot be read", carrier.place):
                message = listening.get_message(timeout=_WAIT_S)
            yield message["data"] if message is not None else None
    finally:
        listening.close()


def _quietly(asked: Any) -> None:
    try:
        asked()
    except StorageError:
        return
