"""MLflow: the model is saved as one of its own, with type hints (mlflow.org/docs/latest/ml/model/python_model), and
served by `mlflow models serve`, whose server is FastAPI on uvicorn; a worker for each core.
"""

import os
import sys
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import model
from pydantic import BaseModel


class Row(BaseModel):
    carrier: str
    origin: str
    dest: str
    hour: int
    distance: int
    temp: float
    humid: float
    wind_speed: float
    precip: float
    visib: float


class Late(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def load_context(self, context: Any) -> None:
        self.model = model.load(str(Path(context.artifacts["model"]).parent))

    def predict(self, model_input: list[Row]) -> list[dict[str, float]]:
        return model.predict(self.model, [row.model_dump() for row in model_input])


if __name__ == "__main__":
    port, saved = sys.argv[1], f"{os.environ['MODEL']}/mlflow-{sys.argv[1]}"
    here = str(Path(model.__file__))
    mlflow.pyfunc.save_model(
        saved, python_model=Late(), artifacts={"model": f"{os.environ['MODEL']}/model.joblib"}, code_paths=[here],
        pip_requirements=["scikit-learn"],
    )  # fmt: skip
    told = ["models", "serve", "-m", saved, "--env-manager", "local", "--port", port, "--workers", "2"]
    program = str(Path(sys.executable).with_name("mlflow"))
    os.execv(program, [program, *told])
