"""What runs for long: it puts the rooms together, takes pushes, and keeps what is served as the ledgers say."""
