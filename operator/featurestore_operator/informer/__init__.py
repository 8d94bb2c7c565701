"""Copies of what the API server has, kept up to date by kopf's watches and by lists.

Start at ``informer.py``.
"""
