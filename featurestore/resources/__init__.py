"""The resources as pydantic models, and the one table of their kinds.

One source for YAML checking, Python use and the CRDs. Imports nothing but pydantic, PyYAML and
``featurestore.errors``. Start reading at ``kinds.py``, then ``data_pipeline.py`` and
``feature_view.py``.
"""

from featurestore.resources.data_pipeline import DataPipeline, DataPipelineSpec
from featurestore.resources.feature_service import FeatureService, FeatureServiceSpec
from featurestore.resources.feature_store import FeatureStore, FeatureStoreSpec
from featurestore.resources.feature_view import (
    FeatureView,
    FeatureViewSpec,
    OnDemandView,
    OnDemandViewSpec,
    View,
    ViewSpec,
)
from featurestore.resources.resource import Resource
from featurestore.resources.training_set import TrainingSet, TrainingSetSpec

__all__ = [
    "DataPipeline",
    "DataPipelineSpec",
    "FeatureService",
    "FeatureServiceSpec",
    "FeatureStore",
    "FeatureStoreSpec",
    "FeatureView",
    "FeatureViewSpec",
    "OnDemandView",
    "OnDemandViewSpec",
    "Resource",
    "TrainingSet",
    "TrainingSetSpec",
    "View",
    "ViewSpec",
]
