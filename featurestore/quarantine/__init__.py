"""What broke a rule: files and rows, why, and how they are run again.

Start at ``entries.py``.
"""
