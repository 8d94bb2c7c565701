"""What anyone can measure again: ``make bench``. One file a question, each with ``measure() -> list[Figure]``.

Figures are ratios within one run, or are printed beside a floor measured in the same run, because
absolute times say more about the machine than about the code. Start reading at ``__main__.py``. ``soak.py``
measures nothing for a table: it runs for half an hour and fails if anything is lost, doubled, or grows.
"""
