"""What became of placed turns: read back, explained, and replayed with another policy."""
