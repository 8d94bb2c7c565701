"""The controller: brings every FeatureStore, DataPipeline and FeatureView of a cluster to what its spec wants.

It may import ``featurestore``, and never a data engine, not even indirectly: what needs one is done by Jobs.

Start reading in ``process.py``, which puts the parts together: informer → cache → work → controller → api. What a look
does is in ``controllers/controller.py``, and from there in ``pipelines.py``, ``views.py`` and ``stores.py``; what a Job is, in
``jobs/job_manifest.py``; what became of it, in ``job_outcome.py`` and ``attempts.py``. A picture is in docs/architecture.md.
"""
