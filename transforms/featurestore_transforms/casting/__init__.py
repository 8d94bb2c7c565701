"""Types: casts that lose nothing, and what a Delta table can hold.

Start at ``cast.py``.
"""
