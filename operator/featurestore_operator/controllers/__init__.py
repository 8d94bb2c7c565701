"""One look at one resource: observe, reconcile, apply, and write its status.

Start at ``controller.py``.
"""
