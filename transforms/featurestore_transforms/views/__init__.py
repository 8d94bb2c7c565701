"""Feature rows of a dataset's rows, and the build that they are committed to.

Start at ``build.py``.
"""
