"""FeatureService: the features that one model reads, under one name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from featurestore.resources.feature_selection import FeatureSelections
from featurestore.resources.metadata import Description, Owner, Tags
from featurestore.resources.model import Model
from featurestore.resources.resource import Resource
from featurestore.resources.status import Count, Digest, KindStatus, Time


class FeatureServiceSpec(Model):
    features: FeatureSelections = Field(
        min_length=1,
        description="Each as `view:feature`, as `view:*` for all of a view, or as `{view, as, joinKeyMap, features}`: "
        "`as` stands before full names, `joinKeyMap` says which column of the entities has a join key.",
    )
    description: Description = Field("", description="What it is for, in its owner's words.")
    owner: Owner = Field("", description="Who is responsible for it.")
    tags: Tags = Field({}, description="Names and values to find it by.")


class FeatureServiceStatus(KindStatus):
    accepted_digest: Digest | None = Field(None, description="The spec that counts: the last good one.")
    watermark: Time | None = Field(
        None, description="Greatest event time of the stalest of its views. Freshness is its age."
    )
    features: Count | None = Field(None, description="Number of features that it gives.")


class FeatureService(Resource):
    kind: Literal["FeatureService"] = Field("FeatureService", description="What it is.")
    spec: FeatureServiceSpec = Field(description="What is wanted.")
