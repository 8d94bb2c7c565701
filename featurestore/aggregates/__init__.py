"""The aggregates over windows: the types of each, the state of a tile, and the value of a window.

Start at ``aggregates.py``: it is the one place that knows each of them, and loads no data engine until it computes.
"""
