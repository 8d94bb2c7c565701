"""One look at one resource: observe, reconcile, apply, and say how it stands.

Start at ``controller.py``.
"""
