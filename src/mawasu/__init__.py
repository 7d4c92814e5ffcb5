"""mawasu (回す, to keep it turning): git push a branch, get a trained, judged and served model."""

__version__ = "0.1.0"
