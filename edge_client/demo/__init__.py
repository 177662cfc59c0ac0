"""The demonstration: an edge and a cloud, some questions asked aloud in one WebRTC call, and faults made on purpose."""
