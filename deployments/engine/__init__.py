"""Continuous batching of a speech-to-speech model across sessions, tuned for the first sound of every reply.

Three nouns carry it: the scheduler (who is next; knows no torch), the runner (one step of the model; knows no queues)
and the sequence (one reply, what the two pass to each other). Nothing in here knows Ray or HTTP.
"""
