"""Bad networks, made on purpose: what a link does to each packet, and the links to put between two peers."""
