"""What broke a rule: files and rows, why, and how they are run again or dismissed.

Start at ``entries.py``; ``replay.py`` and ``dismiss.py`` close them, ``tally.py`` counts what is open.
"""
