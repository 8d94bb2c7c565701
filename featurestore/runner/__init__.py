"""The laptop's runner: observe, reconcile, apply, with no cluster.

``runner.py`` is the loop, ``observer.py`` looks at storage, ``worker_applier.py`` does a
plan's steps, ``worker.py`` is the warm process with the data engine. Start reading at ``runner.py``.
Imports nothing of ``featurestore_transforms``: it talks to it in JSON lines.
"""
