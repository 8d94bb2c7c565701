"""Expressions and queries of specs: parsed and checked once, and what was checked is what runs.

Start at ``check.py``: a text becomes a tree. ``functions.py`` is the one table of operators and functions, ``run``
computes trees with Polars, and is the one room of the contract that loads it.
"""
