"""The traces of turns: read back from files, shown, summed up, compared, and given to Jaeger."""
