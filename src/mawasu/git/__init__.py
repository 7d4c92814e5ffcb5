"""Reading commits and trees with git's plumbing. Light on purpose: the hook of every push imports this package."""

from mawasu.git.checkout import checkout

__all__ = ["checkout"]
