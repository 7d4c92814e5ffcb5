"""The Google double: one HTTP server with state, which checks every request against Google's discovery documents.

`documents` finds the method that a request calls, `schema` checks it, `core` serves, `storage` puts the real
fake-gcs-server behind it, `identity` gives tokens, `faults` makes trouble, `kit` makes plain collections. Every other
module is one service's behaviour: its `install(double)` is called for each new double.
"""
