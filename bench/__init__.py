"""Benchmarks that anyone can run again: `python -m bench [NAME…] [--json FILE]`. See docs/performance.md."""
