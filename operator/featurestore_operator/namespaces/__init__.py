"""The FeatureStore of a namespace, opened, and what is accepted into it.

Start at ``open_store.py``.
"""
