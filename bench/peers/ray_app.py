"""Ray Serve with dynamic batching (docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html), the request taken
raw, without FastAPI in the replica. `RAY_SERVE_THROUGHPUT_OPTIMIZED` is set as its performance guide says.
"""

import os
import sys
import threading
from typing import Any

import model
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=256)
class Late:
    def __init__(self, directory: str) -> None:
        self.model = model.load(directory)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)
    async def together(self, rows: list[dict[str, Any]]) -> list[dict[str, float]]:
        return model.predict(self.model, rows)

    async def __call__(self, request: Request) -> dict[str, float]:
        return await self.together(await request.json())


if __name__ == "__main__":
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Late.bind(os.environ["MODEL"]), route_prefix="/predict")
    threading.Event().wait()
