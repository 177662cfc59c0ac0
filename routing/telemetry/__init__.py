"""Traces, metrics and logs: the names, what a phase is, and how spans get out of a program."""
