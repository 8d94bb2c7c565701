"""Jobs: made, launched, and read back.

Start at ``launcher.py``.
"""
