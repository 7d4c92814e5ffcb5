"""How a moved branch becomes a `Push`: hooks, scanning at start, polling. Empty: the hook of every push imports it."""
