"""Reading commits and trees with git's plumbing. Empty: the hook of every push imports `mawasu.git.refs`."""
