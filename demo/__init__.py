"""The main job on real data: every flight that left New York in 2013, as files that arrive day by day.

``python -m demo`` tells the story; start reading at ``__main__.py``.
"""
