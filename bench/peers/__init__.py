"""Servers to compare with: each at its documented best, in an environment of its own with the versions of `NAME.txt`.

The files beside this one run there. `model.py` is the model and what asks it, for all of them and for mawasu.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.serving_world import Form


@dataclass(frozen=True)
class Peer:
    """`argv` is run in the directory of this file; `{bin}` and `{port}` are filled in. `$MODEL` is a directory."""

    name: str
    packages: str  # the environment: its versions are in `packages.txt`
    argv: tuple[str, ...]
    form: Form = field(default_factory=Form)
    environ: dict[str, str] = field(default_factory=dict)


def _fastapi(workers: int) -> Peer:
    # uvloop and httptools are what uvicorn's manual recommends (uvicorn.dev/installation: "uvicorn[standard]"); one
    # line of log for each request costs and is nobody's best.
    served = ("{bin}/uvicorn", "fastapi_app:app", "--loop", "uvloop", "--http", "httptools", "--no-access-log")
    told = (*served, "--port", "{port}", "--workers", str(workers))
    return Peer(f"FastAPI, {workers} worker{'s' * (workers > 1)}", "fastapi", told)


PEERS = (
    _fastapi(1),
    _fastapi(2),
    Peer(
        "BentoML",
        "bentoml",
        ("{bin}/bentoml", "serve", "bentoml_service:Plain", "--port", "{port}"),
        Form(body='{"row": %s}'),
        {"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Peer(
        "BentoML, batching",
        "bentoml",
        ("{bin}/bentoml", "serve", "bentoml_service:Batching", "--port", "{port}"),
        Form(body='{"rows": [%s]}', answer=lambda answered: answered[0]),
        {"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Peer("LitServe, batching", "litserve", ("{bin}/python", "litserve_app.py", "{port}")),
    Peer(
        "MLflow, 2 workers",
        "mlflow",
        ("{bin}/python", "mlflow_app.py", "{port}"),
        Form("/invocations", '{"inputs": [%s]}', lambda answered: answered["predictions"][0]),
        {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
    ),
    Peer(
        "Ray Serve, batching",
        "ray",
        ("{bin}/python", "ray_app.py", "{port}"),
        Form(),
        {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"},
    ),
)
