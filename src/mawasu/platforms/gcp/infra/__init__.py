"""Converging a Google Cloud project to what the features of a repository want (`mawasu gcp plan` and `apply`).

words → settings → desired → diff → kinds → apply: deciding is pure, doing is small. `converge` puts them together.
"""
