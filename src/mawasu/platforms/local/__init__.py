"""One machine: uv environments, sandboxed processes, a supervisor that outlives the daemon, Envoy.

Nothing is imported here: the supervisor and the command line each load what they need of it, and stay small.
"""
