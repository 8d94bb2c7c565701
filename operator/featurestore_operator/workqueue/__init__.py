"""Which key is handled next, and by which thread.

Start at ``work.py``.
"""
