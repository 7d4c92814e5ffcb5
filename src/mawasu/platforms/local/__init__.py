"""One machine: uv environments, sandboxed processes, a supervisor that outlives the daemon, Envoy."""

from mawasu.platforms.local.platform import LocalPlatform

__all__ = ["LocalPlatform"]
