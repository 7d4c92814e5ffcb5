"""What a `mawasu.yaml` says, complete: every default filled in, every value checked, nothing to look up any more."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Metric = Literal["roc_auc", "log_loss", "accuracy", "rmse", "mae"]


class Part(BaseModel):
    """Base of all sections: frozen, and unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Environment(Part):
    name: str
    branch: str  # a glob: `*` stops at `/`, `**` does not
    expires: float | None = None  # seconds without a push
    preview: bool = False  # one instance per branch, named `preview-<slug>`


class Holdout(Part):
    """Rows that training never sees: by value of a column, or a fraction by hashed key."""

    column: str | None = None
    among: tuple[Any, ...] = ()  # `in:` in the file
    fraction: float | None = None
    key: str | None = None


class DataSource(Part):
    files: tuple[str, ...] = ()  # globs in the repository, from the feature's root
    path: str | None = None  # a path or file:// URI outside; pinned in data.lock


class DataSet(Part):
    name: str
    source: DataSource
    holdout: Holdout | None = None
    label: str | None = None
    row: str | None = None


class Limits(Part):
    """`resources:` — cpu in cores, memory in bytes."""

    cpu: float = 1.0
    memory: int = 2 * 2**30
    network: bool = False


class Training(Part):
    paths: tuple[str, ...]
    command: str
    lock: str | None = None
    data: tuple[str, ...] = ()
    params: dict[str, Any] = Field(default_factory=dict)
    resources: Limits = Limits()
    timeout: float = 3600.0
    seed: int = 0
    secrets: tuple[str, ...] = ()


class Gate(Part):
    not_worse_by: float = 0.01
    confidence: float = 0.95
    slices: tuple[str, ...] = ()
    first: dict[str, str] = Field(default_factory=dict)  # metric → ">= 0.55"


class Evaluation(Part):
    paths: tuple[str, ...]
    command: str
    data: str  # the data set whose holdout rows are scored
    metric: Metric
    gate: Gate = Gate()
    resources: Limits = Limits()
    timeout: float = 3600.0


class Batch(Part):
    max_size: int = 64
    max_wait_ms: float = 2.0


class Scale(Part):
    min: int = 1
    max: int = 1


class Api(Part):
    paths: tuple[str, ...]
    lock: str | None = None
    handler: str | None = None  # module.path:function — or
    command: str | None = None  # any HTTP server on $PORT
    examples: str | None = None
    batch: Batch = Batch()
    scale: Scale = Scale()
    secrets: tuple[str, ...] = ()
    resources: Limits = Limits()
    timeout: float = 60.0  # seconds until every replica must be ready


class Auth(Part):
    paths: tuple[str, ...]
    openapi: str


class Feature(Part):
    """One machine-learning function. `root` is the directory of its `mawasu.yaml`, "" for the top."""

    name: str
    root: str = ""
    environments: tuple[Environment, ...]
    data: tuple[DataSet, ...] = ()
    training: Training | None = None
    evaluation: Evaluation | None = None
    api: Api | None = None
    auth: Auth | None = None
