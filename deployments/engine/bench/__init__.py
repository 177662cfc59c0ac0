"""The engine beside the stock generator, in one run: ``python -m deployments.engine.bench --help`` tells how."""
