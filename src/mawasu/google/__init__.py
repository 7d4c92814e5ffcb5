"""One HTTP transport for all of Google's APIs, and pure builders of requests. No SDK: httpx and google-auth."""
