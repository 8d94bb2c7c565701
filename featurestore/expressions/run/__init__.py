"""What computes expressions, with Polars: the one room of the contract that loads it, so import it only to compute.

Start at ``program.py``; ``operations.py`` has what each operator and function does.
"""
