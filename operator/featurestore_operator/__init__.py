"""The controller: brings every FeatureStore, DataPipeline and FeatureView of a cluster to what its spec wants.

It may import ``featurestore``, and never a data engine, not even indirectly: what needs one is done by Jobs.

Start reading in ``process.py``, which puts the parts together: informer → cache → work → controller → api. What a look
does is in ``controller.py``, and from there in ``pipeline.py``, ``view.py`` and ``upkeep.py``; what a Job is, in
``job_manifest.py``; what became of it, in ``verdict.py`` and ``record.py``. A picture is in docs/architecture.md.
"""
