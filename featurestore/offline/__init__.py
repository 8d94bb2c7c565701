"""The point-in-time join over a view's table.

Start at ``join.py``.
"""
