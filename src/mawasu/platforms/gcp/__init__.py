"""The platform on Google Cloud: Cloud Storage, Cloud Build, Vertex AI, Cloud Run, Endpoints (design §6)."""
