"""Tiles, windows and sketches: the one definition of each aggregate, offline and online.

Start at ``window.py``.
"""
