"""Several processes that serve one port together: who starts them, what they know of each other, who has which call."""
