"""What to do next, as a function of what is wanted, what is there, and the time.

Start at ``reconcile.py`` (the pure decision); ``observe.py`` fills in what it looks at. Loads no data engine.
"""
