"""The byte layout of an entity's value, the same in Redis and in an embedded generation.

Start at ``packing.py``; ``docs/online-layout.md`` draws it.
"""
