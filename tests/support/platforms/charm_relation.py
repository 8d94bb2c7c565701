"""Run where ops is: charms with the library, run by ``ops.testing``, and what came of it as JSON.

``python charm_relation.py PAGE_CODE``: the charm of the page is the one that requires a store.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys
import typing

import ops
from charms.featurestore.v0 import feature_store
from ops import testing

ENVIRONMENT = {"FEATURESTORE_URI": "s3://features/prod"}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "ann", "AWS_SECRET_ACCESS_KEY": "hidden"}


class StoreCharm(ops.CharmBase):
    credentials: typing.ClassVar = CREDENTIALS

    def __init__(self, framework):
        super().__init__(framework)
        self.store = feature_store.FeatureStoreProvider(self)
        framework.observe(self.on["feature-store"].relation_created, self._tell)
        framework.observe(self.on.config_changed, self._tell)

    def _tell(self, event):
        self.store.publish(ENVIRONMENT, self.credentials)


def provided(leader=True, state=None):
    context = testing.Context(
        StoreCharm, meta={"name": "store", "provides": {"feature-store": {"interface": "feature_store"}}}
    )
    if state is None:
        relation = testing.Relation("feature-store", interface="feature_store")
        state = testing.State(relations={relation}, leader=leader)
        return context.run(context.on.relation_created(relation), state)
    return context.run(context.on.config_changed(), state)


def local_data(state):
    [relation] = state.relations
    return dict(relation.local_app_data)


def required(charm, data, secrets=(), event="relation_changed"):
    context = testing.Context(
        charm, meta={"name": "model", "requires": {"feature-store": {"interface": "feature_store"}}}
    )
    relation = testing.Relation("feature-store", interface="feature_store", remote_app_data=data)
    state = testing.State(relations={relation}, secrets=set(secrets))
    with context(getattr(context.on, event)(relation), state) as manager:
        ended = manager.run()
        environment = manager.charm.store.environment()
    return {"environment": environment, "status": [ended.unit_status.name, ended.unit_status.message]}


def main(code):
    names = {}
    exec(code, names)
    charm = names["ModelCharm"]
    state = provided()
    data = local_data(state)
    [secret] = state.secrets
    found = {
        "data": {name: value for name, value in data.items() if name != "secret-id"},
        "secret": dict(secret.tracked_content),
        "granted": {str(relation): sorted(to) for relation, to in secret.remote_grants.items()} != {},
        "again": len(provided(state=state).secrets),
        "follower": local_data(provided(leader=False)),
    }
    seen = testing.Secret(secret.tracked_content, id=data["secret-id"])
    found["ready"] = required(charm, data, [seen])
    found["without credentials"] = required(charm, {"environment": json.dumps(ENVIRONMENT)})
    found["nothing yet"] = required(charm, {})
    found["nonsense"] = required(charm, {"environment": "{"})
    found["gone"] = required(charm, data, [seen], "relation_broken")
    kafka = {
        "endpoints": "10.1.0.4:9093,10.1.0.5:9093",
        "topic": "arrivals",
        "consumer-group-prefix": "relation-7-",
        "tls": "enabled",
    }
    secrets = {
        "secret-user": {"username": "relation-7", "password": "hidden"},
        "secret-tls": {"tls-ca": "PEM"},
    }
    found["source"] = feature_store.pipeline_source(kafka, "flights", secret="kafka")
    found["variables"] = feature_store.kafka_variables(kafka, secrets)
    found["plain"] = feature_store.kafka_variables({"endpoints": "a:9092", "topic": "t", "tls": "disabled"})
    try:
        feature_store.pipeline_source({"endpoints": "a:9092"}, "flights")
    except ValueError as error:
        found["missing"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
