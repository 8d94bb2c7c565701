"""The steps of a spec as one lazy Polars plan, and the rules that rows may break.

Start at ``transforms.py``.
"""
