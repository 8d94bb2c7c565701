"""What there is to say about resources, for the command line and for the page: how they stand, what they hold, what is wrong.

It may import the client and what stands below it, and loads a data engine only where rows are looked at. Start at
``summary.py``.
"""
