"""Servers built on other voice stacks, for comparison.

They are run by the Python of those stacks' own environments, so nothing here imports anything of Antiphon.
"""
