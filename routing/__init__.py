"""The words both ends of Antiphon speak, and the choice of who answers a turn."""
