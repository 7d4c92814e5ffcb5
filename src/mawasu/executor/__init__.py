"""Walking plans: the queue, one build, its steps, and what it does to what is live."""
