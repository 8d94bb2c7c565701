"""Steps of Kubeflow Pipelines: wait until features are fresh, and take a version of a training set.

The room needs ``kfp`` (the extra ``kubeflow``), and may use ``client``. The bodies of components run in pods, by
themselves: they import what they need.
"""

from featurestore.kubeflow.components import training_set, wait_fresh

__all__ = ["training_set", "wait_fresh"]
