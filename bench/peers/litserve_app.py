"""LitServe with batching (lightning.ai/docs/litserve/features/batching); `fast_queue`: ZeroMQ, for many requests."""

import os
import sys
from typing import Any

import litserve
import model


class Late(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = model.load(os.environ["MODEL"])

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, x: list[dict[str, Any]]) -> list[dict[str, float]]:
        return model.predict(self.model, x)

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output


if __name__ == "__main__":
    api = Late(max_batch_size=64, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="warning")
