"""The resources: FeatureStore, DataPipeline and FeatureView, as pydantic models.

One source for YAML checking, Python use and the CRDs. Imports nothing but pydantic, PyYAML and
``featurestore.errors``. Start reading at ``pipeline.py`` and ``view.py``.
"""

from featurestore.resources.pipeline import DataPipeline, DataPipelineSpec
from featurestore.resources.store import FeatureStore, FeatureStoreSpec
from featurestore.resources.view import FeatureView, FeatureViewSpec

Resource = FeatureStore | DataPipeline | FeatureView

__all__ = [
    "DataPipeline",
    "DataPipelineSpec",
    "FeatureStore",
    "FeatureStoreSpec",
    "FeatureView",
    "FeatureViewSpec",
    "Resource",
]
