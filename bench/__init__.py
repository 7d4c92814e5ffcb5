"""Benchmarks that anyone can run again: `python -m bench [NAME…] [--json FILE]`; what they mean is in docs/performance.md."""
