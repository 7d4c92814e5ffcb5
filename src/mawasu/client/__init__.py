"""Call a feature's API from a page that must stay fast, also when the API is slow or down.

    api = Api("https://ml.example.com/flight-delay/production", key=KEY, timeout=0.2, fallback={"delay": None})
    answer = api.predict({"carrier": "JL"})  # .value .release .source .error

Installed alone, as `mawasu-client`; imports nothing of the rest of mawasu. docs/client.md teaches it.
"""

from mawasu.client.answer import Answer, ApiError, Event
from mawasu.client.api import Api, AsyncApi
from mawasu.client.cache import Memory, Redis

__all__ = ["Answer", "Api", "ApiError", "AsyncApi", "Event", "Memory", "Redis"]
