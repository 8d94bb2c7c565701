"""Running the history of a pipeline again, under its newest spec: what it would take, beginning it, giving it up.

Start at ``history_plan.py``. What a rebuild is, and how it goes on: :mod:`featurestore.arrivals.rebuild`.
"""
