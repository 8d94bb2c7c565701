"""The embedded online store: DuckDB generations in the storage root.

Start at ``store.py``; ``generations.py`` says which generation is the newest, ``index.py`` what is held of a build,
both without a data engine.
"""
