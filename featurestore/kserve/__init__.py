"""A transformer for KServe's model server: requests have keys, and the predictor gets features.

``FeatureTransformer`` is the model of a server in front of a predictor; ``python -m featurestore.kserve`` runs one. The
room needs ``kserve`` (the extra of that name), and may use ``client``. Start reading at ``transformer.py``.
"""

from featurestore.kserve.transformer import FeatureTransformer

__all__ = ["FeatureTransformer"]
