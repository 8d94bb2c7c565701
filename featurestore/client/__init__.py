"""What a model's code calls.

Start at ``store.py``.
"""
