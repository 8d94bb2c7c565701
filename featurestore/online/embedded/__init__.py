"""The embedded online store: DuckDB generations in the storage root.

Start at ``store.py``; ``index.py`` says which generation is the newest, without a data engine.
"""
