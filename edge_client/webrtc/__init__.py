"""Calls over WebRTC: the offer that is let in, the sound that comes in, the sound that goes out."""
