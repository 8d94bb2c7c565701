"""What values look like: summaries of columns that can be put together, samples of rows, and how far two of them differ.

All of it is a function of the rows alone: not of their order, of the pieces they come in, or of the machine. Start reading at
``table_profile.py``. Models of results need no data engine; what computes them does. Above storage, below everything of a kind.
"""
