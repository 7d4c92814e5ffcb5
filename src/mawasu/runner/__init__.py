"""One push, or one look at the clock, from its start to its end: what a step of Cloud Build or a Cloud Run job does.

Where no daemon lives, whoever comes takes the work from the ledger; what several may do at once is settled there.
"""
