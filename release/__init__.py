"""What is made of a checkout for others to install: images, their bills of materials, the chart, the bundle, the wheel.

Start reading in ``publish``: it is what ``make release`` does, and what ``make release-check`` does against a registry of
its own. Docs: docs/releasing.md.
"""
