"""A circuit that opens where a backend keeps failing, so that no turn waits for it in vain."""
