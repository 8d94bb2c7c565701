"""The Kubernetes API as the controller calls it.

Start at ``api.py``.
"""
