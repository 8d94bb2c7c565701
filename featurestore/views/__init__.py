"""Builds of a view, which of them serves, and what can be asked of it.

Start at ``builds.py``.
"""
