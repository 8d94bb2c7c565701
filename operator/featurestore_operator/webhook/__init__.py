"""Admission: what the API server asks before it takes an object.

Start at ``admission.py``.
"""
