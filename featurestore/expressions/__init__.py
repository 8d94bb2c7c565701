"""Expressions and queries of specs.

Start at ``check.py`` (what a spec may say); ``dialect.py`` has the functions and types.
"""
