"""The resources as last accepted, and what applying others would change.

Start at ``registry.py``; ``changeset.py`` plans and applies. Loads no data engine.
"""
