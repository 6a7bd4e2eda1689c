"""What a client and a relay say to each other."""
