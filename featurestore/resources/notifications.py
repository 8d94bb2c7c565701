"""What tells of new files before a listing finds them: how it reaches the operator or ``featurestore run``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.kafka import SERVERS_PATTERN, TOPIC_PATTERN
from featurestore.resources.metadata import SecretRef
from featurestore.resources.model import Model
from featurestore.resources.nats import SUBJECT_PATTERN
from featurestore.resources.redis_stream import URL_PATTERN
from featurestore.resources.rule import exactly_one

TOKEN_KEY = "token"
"""The key of a Secret that holds what senders of notifications show."""


class WebhookNotifications(Model):
    """Events of object storage, posted to the operator or to ``featurestore run``."""

    secret_ref: SecretRef | None = Field(
        None,
        description="Secret whose key `token` senders must show. Default: the Secret `<pipeline>-webhook`. On a laptop the "
        "token is in FEATURESTORE_WEBHOOK_TOKEN, or in a file.",
    )


class NatsNotifications(Model):
    servers: Annotated[str, StringConstraints(pattern=SERVERS_PATTERN, min_length=1, max_length=1024)] = (
        Field(description="Servers to connect to, as `host:port`, with `,` between.")
    )
    subject: Annotated[str, StringConstraints(pattern=SUBJECT_PATTERN, max_length=255)] = Field(
        description="Subject of the events."
    )
    secret_ref: SecretRef | None = Field(None, description="Secret with what it takes to log in.")

    @property
    def place(self) -> str:
        return f"nats://{self.servers}/{self.subject}"

    @property
    def opened(self) -> tuple[str, ...]:
        return tuple(f"nats://{server}" for server in self.servers.split(","))


class KafkaNotifications(Model):
    bootstrap_servers: Annotated[
        str, StringConstraints(pattern=SERVERS_PATTERN, min_length=1, max_length=1024)
    ] = Field(description="Brokers to ask first, as `host:port`, with `,` between.")
    topic: Annotated[str, StringConstraints(pattern=TOPIC_PATTERN, min_length=1, max_length=249)] = Field(
        description="Topic of the events."
    )
    secret_ref: SecretRef | None = Field(None, description="Secret with what it takes to log in.")

    @property
    def place(self) -> str:
        return f"kafka://{self.bootstrap_servers}/{self.topic}"

    @property
    def opened(self) -> tuple[str, ...]:
        return tuple(f"kafka://{broker}" for broker in self.bootstrap_servers.split(","))


class RedisNotifications(Model):
    url: Annotated[str, StringConstraints(pattern=URL_PATTERN, min_length=1, max_length=1024)] = Field(
        description="URL of the server, such as `redis://host:6379` or, with TLS, `rediss://host:6379`."
    )
    channel: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(
        description="Channel that the events are published to."
    )
    secret_ref: SecretRef | None = Field(None, description="Secret with what it takes to log in.")

    @property
    def place(self) -> str:
        return f"{self.url}/{self.channel}"

    @property
    def opened(self) -> tuple[str, ...]:
        return (self.url,)


Carrier = NatsNotifications | KafkaNotifications | RedisNotifications
"""What is subscribed to, instead of being posted to us."""


class Notifications(Model):
    """Hints that make a look at single files happen at once. What a listing finds stays the truth."""

    webhook: WebhookNotifications | None = Field(None, description="Events are posted over HTTP.")
    nats: NatsNotifications | None = Field(None, description="Events come as messages of NATS.")
    kafka: KafkaNotifications | None = Field(None, description="Events come as messages of a topic of Kafka.")
    redis: RedisNotifications | None = Field(None, description="Events are published to a channel of Redis.")

    @property
    def carrier(self) -> Carrier | None:
        """What is subscribed to; None if events are posted."""
        return self.nats or self.kafka or self.redis

    rules = (exactly_one("webhook", "nats", "kafka", "redis"),)
