"""How many replicas there should be: a pure function of what they tell."""
