"""The point-in-time join over a view's table, and shards of what was joined.

Start at ``join.py``.
"""
