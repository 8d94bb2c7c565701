"""Online stores: the newest values of every entity, for inference.

Two stores, one protocol (``backends.py``): DuckDB, embedded (the default), and Redis. Each is a folder with the same
files, named like its field in the spec of a FeatureStore. Start reading at ``layout.py`` for what is kept of an
entity, at ``answer.py`` for how a value at a time comes from it, at ``publish.py`` for how a store is brought from one
version of a view's table to a later one.
"""
