"""FeatureStorePolicy: what namespaces may use that is not their own, as the cluster's administrator says."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from featurestore.resources.metadata import Description, LabelName, Name, ObjectName
from featurestore.resources.model import Model
from featurestore.resources.pod_template import LabelValue
from featurestore.resources.resource import Resource
from featurestore.resources.rule import SpecRule, Unique

UriPrefix = Annotated[
    str, StringConstraints(pattern=r"^(/|[a-z][a-z0-9]*://[^/]+/)", min_length=1, max_length=1024)
]
ImagePrefix = Annotated[str, StringConstraints(pattern=r"^[^\s]+$", min_length=1, max_length=1024)]


class NamespaceSelector(Model):
    """All namespaces, if nothing is set."""

    names: Annotated[tuple[Name, ...], Unique()] = Field(
        (), max_length=256, description="Namespaces by name."
    )
    match_labels: Annotated[dict[LabelName, LabelValue], Field(max_length=32)] = Field(
        {}, description="Namespaces that have all of these labels."
    )
    rules = (
        SpecRule(
            message="namespaces are chosen by names or by matchLabels, not by both",
            holds=lambda selector: not (selector.names and selector.match_labels),
            cel="!(has(self.names) && self.names.size() > 0 && has(self.matchLabels) && self.matchLabels.size() > 0)",
        ),
    )


class ProjectedTokens(StrEnum):
    """Whether Jobs and servers may mount tokens of their ServiceAccount."""

    FORBIDDEN = "Forbidden"
    ALLOWED = "Allowed"


class FeatureStorePolicySpec(Model):
    namespaces: NamespaceSelector = Field(
        NamespaceSelector(), description="Which namespaces it is about. Default: all."
    )
    uri_prefixes: Annotated[tuple[UriPrefix, ...], Unique()] = Field(
        (),
        max_length=64,
        description="What may be opened without a Secret, with the identity of the operator and of Jobs, such as "
        "s3://features/{namespace}/: stores, sources, http:// and https:// sources, absolute paths, "
        "redis://cache:6379/ of online stores.",
    )
    service_account_names: Annotated[tuple[ObjectName, ...], Unique()] = Field(
        (), max_length=64, description="ServiceAccounts that the template of a Job or a server may name."
    )
    projected_tokens: ProjectedTokens = Field(
        ProjectedTokens.FORBIDDEN,
        description="Whether volumes of Jobs and servers may hold tokens of their ServiceAccount.",
    )
    image_prefixes: Annotated[tuple[ImagePrefix, ...], Unique()] = Field(
        (),
        max_length=64,
        description="What the image of a Job, a server or a managed Redis must begin with, if the resource names one. Else, "
        "if no policy says so, any image.",
    )
    max_jobs: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="How many Jobs a namespace may have at once; of several policies, the greatest number counts. "
        "Default: as the operator is told (--max-jobs-per-namespace).",
    )
    max_replicas: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="How many replicas the feature server of a namespace may ask for; of several policies, the greatest "
        "number counts. Else, if no policy says so, any number.",
    )
    description: Description = Field("", description="What it is for.")


class FeatureStorePolicy(Resource):
    kind: Literal["FeatureStorePolicy"] = Field("FeatureStorePolicy", description="What it is.")
    spec: FeatureStorePolicySpec = Field(description="What is allowed.")
