"""Erasing keys: rows out of every table, then the bytes out of storage.

Start at ``erase.py``, which has the steps in their order.
"""
