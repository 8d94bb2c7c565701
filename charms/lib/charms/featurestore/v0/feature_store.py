"""The relation `feature-store`: what a charm tells another about a FeatureStore, and how a pipeline reads Charmed Kafka.

A charm that has a store, in `charmcraft.yaml` with `provides: {feature-store: {interface: feature_store}}`:

    self.store = FeatureStoreProvider(self)
    self.store.publish({"FEATURESTORE_URI": "s3://features/prod"}, {"AWS_ACCESS_KEY_ID": "…"})

A charm that reads features, with `requires: {feature-store: {interface: feature_store, limit: 1}}`:

    self.store = FeatureStoreRequirer(self)
    framework.observe(self.store.on.ready, self._on_ready)      # self.store.environment() has all variables

The application's data have `environment`, JSON of names to values, and `secret-id` if there are credentials: a Juju
secret, which only this relation may read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import ops

LIBID = "1f0c6f5a7d0e4b5f9a3e6c2d8b417a90"
LIBAPI = 0
LIBPATCH = 1

RELATION = "feature-store"
URI = "FEATURESTORE_URI"
_ENVIRONMENT, _SECRET_ID = "environment", "secret-id"


class FeatureStoreProvider(ops.Object):
    """Tells all that are related what there is. Only the leader tells, as Juju has it."""

    def __init__(self, charm: ops.CharmBase, relation_name: str = RELATION) -> None:
        super().__init__(charm, f"{relation_name}-provider")
        self._charm, self._relation_name = charm, relation_name

    def publish(self, environment: Mapping[str, str], credentials: Mapping[str, str] | None = None) -> None:
        """Tell it to each relation that is there; call it again when one is created, and when it changed.

        `environment`: variables that may be seen, with `FEATURESTORE_URI`. `credentials`: those that may not.

        Raises:
            ValueError: there is no `FEATURESTORE_URI`.
        """
        if not environment.get(URI):
            raise ValueError(f"environment: wanted {URI}, got {sorted(environment)}")
        if not self._charm.unit.is_leader():
            return
        for relation in self._charm.model.relations[self._relation_name]:
            data = relation.data[self._charm.app]
            secret_id = self._secret(relation, credentials) if credentials else ""
            data[_ENVIRONMENT] = json.dumps(dict(environment), sort_keys=True)
            data[_SECRET_ID] = secret_id  # an empty text takes the key away

    def _secret(self, relation: ops.Relation, credentials: Mapping[str, str]) -> str:
        content = {_secret_key(name): value for name, value in credentials.items()}
        label = f"{self._relation_name}-{relation.id}"
        try:
            secret = self._charm.model.get_secret(label=label)
        except ops.SecretNotFoundError:
            secret = self._charm.app.add_secret(content, label=label)
        else:
            if secret.peek_content() != content:
                secret.set_content(content)
        secret.grant(relation)
        return str(secret.id or secret.get_info().id)


class FeatureStoreReadyEvent(ops.EventBase):
    """There is a store, or what is told of it changed."""


class FeatureStoreGoneEvent(ops.EventBase):
    """There is no store any more."""


class FeatureStoreRequirerEvents(ops.ObjectEvents):
    """`ready` and `gone`."""

    ready = ops.EventSource(FeatureStoreReadyEvent)
    gone = ops.EventSource(FeatureStoreGoneEvent)


class FeatureStoreRequirer(ops.Object):
    """Knows what is told of a store."""

    on = FeatureStoreRequirerEvents()  # pyright: ignore[reportAssignmentType]

    def __init__(self, charm: ops.CharmBase, relation_name: str = RELATION) -> None:
        super().__init__(charm, f"{relation_name}-requirer")
        self._charm, self._relation_name = charm, relation_name
        events = charm.on[relation_name]
        self.framework.observe(events.relation_changed, self._on_changed)
        self.framework.observe(events.relation_broken, self._on_broken)
        self.framework.observe(charm.on.secret_changed, self._on_secret_changed)

    def environment(self) -> dict[str, str] | None:
        """All variables that a process needs that reads features, credentials too; None while there is no store."""
        for relation in self._charm.model.relations[self._relation_name]:
            if relation.app is None or not relation.active:
                continue
            data = relation.data[relation.app]
            try:
                found = json.loads(data.get(_ENVIRONMENT, "{}"))
            except json.JSONDecodeError:
                continue
            if not found.get(URI):
                continue
            if data.get(_SECRET_ID):
                content = self._charm.model.get_secret(id=data[_SECRET_ID]).get_content(refresh=True)
                found |= {_variable(key): value for key, value in content.items()}
            return {str(name): str(value) for name, value in found.items()}
        return None

    def _on_changed(self, event: ops.EventBase) -> None:
        if self.environment() is not None:
            self.on.ready.emit()

    def _on_secret_changed(self, event: ops.SecretChangedEvent) -> None:
        for relation in self._charm.model.relations[self._relation_name]:
            told = relation.data[relation.app].get(_SECRET_ID, "") if relation.app is not None else ""
            if told and _same_secret(told, event.secret.id or ""):
                self.on.ready.emit()

    def _on_broken(self, event: ops.EventBase) -> None:
        self.on.gone.emit()


def pipeline_source(
    relation_data: Mapping[str, str], pipeline: str, message_format: str = "JSON", secret: str | None = None
) -> dict[str, Any]:
    """`source` of a DataPipeline that reads the topic which a relation `kafka_client` is about.

    `relation_data`: of the remote application. `secret`: name of the Secret with what :func:`kafka_variables` gives.

    Raises:
        ValueError: the relation does not tell brokers and topic yet.
    """
    missing = [name for name in ("endpoints", "topic") if not relation_data.get(name)]
    if missing:
        raise ValueError(f"relation data: wanted {' and '.join(missing)}, got {sorted(relation_data)}")
    kafka: dict[str, Any] = {
        "bootstrapServers": relation_data["endpoints"],
        "topic": relation_data["topic"],
        "format": message_format,
    }
    if relation_data.get("consumer-group-prefix"):
        kafka["consumerGroup"] = f"{relation_data['consumer-group-prefix']}{pipeline}"
    if secret:
        kafka["secretRef"] = {"name": secret}
    return {"kafka": kafka}


def kafka_variables(
    relation_data: Mapping[str, str], secret_contents: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, str]:
    """Content of the Secret that a pipeline logs in to Charmed Kafka with.

    `secret_contents`: of the Juju secrets that the relation names, by the key that names them: `secret-user`, `secret-tls`.
    """
    known = dict(relation_data)
    for content in (secret_contents or {}).values():
        known |= content
    found = {}
    for name, variable in (("username", "KAFKA_SASL_USERNAME"), ("password", "KAFKA_SASL_PASSWORD")):
        if known.get(name):
            found[variable] = known[name]
    is_encrypted = known.get("tls", "").lower() in ("enabled", "true")
    if is_encrypted and known.get("tls-ca"):
        found["KAFKA_SSL_CA"] = known["tls-ca"]
    protocol = "SSL" if is_encrypted else "PLAINTEXT"
    found["KAFKA_SECURITY_PROTOCOL"] = f"SASL_{protocol}" if "KAFKA_SASL_USERNAME" in found else protocol
    return found


def _secret_key(variable: str) -> str:
    """Juju takes lower case, digits and hyphens.

    >>> _secret_key("AWS_ACCESS_KEY_ID")
    'aws-access-key-id'
    """
    return variable.lower().replace("_", "-")


def _variable(secret_key: str) -> str:
    return secret_key.upper().replace("-", "_")


def _same_secret(one: str, other: str) -> bool:
    """`secret:ID` and `secret://MODEL/ID` are the same."""
    return one.rpartition("/")[2].removeprefix("secret:") == other.rpartition("/")[2].removeprefix("secret:")
