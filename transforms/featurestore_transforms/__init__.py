"""One batch: manifest in, commit out. Also feature rows of new dataset rows.

Runs in a Job, or in a worker process on a laptop. May import ``featurestore``, never the controller.
Start reading at ``__main__.py``.
"""
