"""The feature server of a FeatureStore, which the operator keeps in a cluster. Without effect on a laptop."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from featurestore.resources.metadata import SecretRef
from featurestore.resources.model import Model
from featurestore.resources.pod_template import PodTemplate
from featurestore.resources.quantity import Bytes
from featurestore.resources.rule import SpecRule, Unique

EVERYWHERE = "*"
"""Stands for all namespaces, and for what is outside of the cluster."""
CLIENT_PATTERN = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"
NamespaceOrAll = Annotated[str, StringConstraints(pattern=CLIENT_PATTERN, min_length=1, max_length=63)]
ARGUMENT_PATTERN = r"^[^-\s][^\s]*$"
Argument = Annotated[str, StringConstraints(pattern=ARGUMENT_PATTERN, min_length=1, max_length=1024)]
ISSUER_PATTERN = r"^https://[^\s?#]+$"


LEAST_SERVER_MEMORY = 128 * 2**20
"""A server that has answered one request holds 117 MiB at its peak, whatever the store has."""


class ServingAuth(StrEnum):
    """How callers say who they are. There is no reading without one unless ``None`` is asked for."""

    KUBERNETES = "Kubernetes"
    TOKEN = "Token"
    OIDC = "OIDC"
    NONE = "None"


class AuditOutput(StrEnum):
    """Where it is written who read what."""

    STDOUT = "Stdout"
    DISABLED = "Disabled"


class ServingPush(StrEnum):
    """Whether the servers take rows for pipelines."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class Replicas(Model):
    """How many servers there are: as many as the load takes, between two bounds."""

    min: int = Field(2, ge=1, le=1000, description="How many there are at least, also when nobody asks.")
    max: int = Field(10, ge=1, le=1000, description="How many there are at most.")
    requests_per_second: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="How many requests a second one server is to answer, besides 70 % of its CPU: by the metric "
        "feature_requests_per_second of its pods, which somebody must provide (see docs/serving.md).",
    )
    rules = (
        SpecRule(
            message="max must not be less than min",
            holds=lambda replicas: replicas.min <= replicas.max,
            cel="!has(self.min) || !has(self.max) || self.min <= self.max",
            field="max",
        ),
    )


class OidcIssuer(Model):
    """Whose tokens count."""

    issuer: Annotated[str, StringConstraints(pattern=ISSUER_PATTERN, min_length=1, max_length=1024)] = Field(
        description="URL of the issuer, as its tokens name it."
    )
    audience: Argument = Field(description="The audience that tokens must be for.")
    groups: Annotated[tuple[Argument, ...], Unique()] = Field(
        (), max_length=64, description="Groups that may read. Default: all whom the issuer knows."
    )
    groups_claim: Argument = Field("groups", description="The claim that has the groups of a caller.")


class Serving(Model):
    replicas: Replicas = Field(Replicas(), description="How many servers there are.")
    auth: ServingAuth = Field(
        ServingAuth.KUBERNETES,
        description="How callers say who they are. Kubernetes: by tokens of the cluster, and they read the FeatureViews "
        "that RBAC lets them get. None: whoever reaches it reads everything.",
    )
    token_secret_ref: SecretRef | None = Field(
        None, description="With auth Token: Secret whose key `tokens` has NAME TOKEN in each line."
    )
    oidc: OidcIssuer | None = Field(None, description="With auth OIDC: whose tokens count.")
    tls_secret_ref: SecretRef | None = Field(
        None,
        description="Secret with tls.crt and tls.key, as cert-manager makes it. Renewed ones are used at once. "
        "Default: it speaks plain HTTP.",
    )
    client_namespaces: Annotated[tuple[NamespaceOrAll, ...], Unique()] = Field(
        (),
        max_length=64,
        description="Namespaces whose pods may connect, besides its own, such as those of models, an ingress or "
        "Prometheus; `*` for all, and for what is outside of the cluster.",
    )
    audit_log: AuditOutput = Field(
        AuditOutput.STDOUT, description="Where there is a line of JSON about each read: who read what."
    )
    push: ServingPush = Field(
        ServingPush.DISABLED,
        description="Whether they take rows for pipelines whose source says push, from whoever may push to them. They write "
        "with the store's credentials.",
    )
    memory: Bytes = Field(
        512 * 1024**2, description="Memory of each server, which it asks for and gets no more of."
    )
    template: PodTemplate = Field(PodTemplate(), description="What its pods are like.")
    rules = (
        SpecRule(
            message="auth Token takes a tokenSecretRef, and nothing else does",
            holds=lambda serving: (
                (serving.auth is ServingAuth.TOKEN) == (serving.token_secret_ref is not None)
            ),
            cel="(self.auth == 'Token') == has(self.tokenSecretRef)",
            field="tokenSecretRef",
        ),
        SpecRule(
            message="auth OIDC takes oidc, and nothing else does",
            holds=lambda serving: (serving.auth is ServingAuth.OIDC) == (serving.oidc is not None),
            cel="(self.auth == 'OIDC') == has(self.oidc)",
            field="oidc",
        ),
        SpecRule(
            message="with auth OIDC nobody may push: its tokens do not say who may",
            holds=lambda serving: (
                serving.push is ServingPush.DISABLED or serving.auth is not ServingAuth.OIDC
            ),
            cel="self.push == 'Disabled' || self.auth != 'OIDC'",
            field="push",
        ),
        SpecRule(
            message="memory must be at least 128Mi, which a server of a few entities needs",
            holds=lambda serving: serving.memory >= LEAST_SERVER_MEMORY,
            cel="!has(self.memory) || quantity(string(self.memory)).compareTo(quantity('128Mi')) >= 0",
            field="memory",
        ),
    )
