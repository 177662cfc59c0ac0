"""Writes what watches over Antiphon: Grafana's boards and the rules of the objectives. A tool for development."""
