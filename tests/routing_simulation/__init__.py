"""A world to route turns in: networks, backends and callers that behave the same for every policy, on virtual time."""
