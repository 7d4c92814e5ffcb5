"""What a `mawasu.yaml` says, complete: every default filled in, every value checked, nothing to look up any more."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mawasu.words import Caching, Predictions, Value

Metric = Literal["roc_auc", "log_loss", "accuracy", "rmse", "mae"]


class Part(Value, frozen=True, kw_only=True):
    """Base of all sections. No pydantic: its import alone is 0.2 s, most of what `mawasu run` may take."""


class Environment(Part, frozen=True, kw_only=True):
    name: str
    branch: str  # a glob: `*` stops at `/`, `**` does not
    expires: float | None = None  # seconds without a push
    preview: bool = False  # one instance per branch, named `preview-<slug>`


class Holdout(Part, frozen=True, kw_only=True):
    """Rows that training never sees: by value of a column, or a fraction by hashed key."""

    column: str | None = None
    among: tuple[Any, ...] = ()  # `in:` in the file
    fraction: float | None = None
    key: str | None = None


class DataSource(Part, frozen=True, kw_only=True):
    files: tuple[str, ...] = ()  # globs in the repository, from the feature's root
    path: str | None = None  # a path, file:// or gs:// URI outside; pinned in data.lock


class DataSet(Part, frozen=True, kw_only=True):
    name: str
    source: DataSource
    holdout: Holdout | None = None
    label: str | None = None
    row: str | None = None
    refresh: float | None = None  # seconds between looks for new data; only of a source with a `path`


class Limits(Part, frozen=True, kw_only=True):
    """`resources:` — cpu in cores, memory in bytes; `workers` counts the machines of one training run."""

    cpu: float = 1.0
    memory: int = 2 * 2**30
    network: bool = False
    accelerator: str = ""  # as Vertex AI's AcceleratorType calls it, "" for none
    accelerators: int = 0  # of each machine
    workers: int = 1


class Training(Part, frozen=True, kw_only=True):
    paths: tuple[str, ...]
    command: str
    lock: str | None = None
    dockerfile: str | None = None
    data: tuple[str, ...] = ()
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    resources: Limits = Limits()
    timeout: float = 3600.0
    seed: int = 0
    secrets: tuple[str, ...] = ()


class Gate(Part, frozen=True, kw_only=True):
    not_worse_by: float = 0.01
    confidence: float = 0.95
    slices: tuple[str, ...] = ()
    first: dict[str, str] = msgspec.field(default_factory=dict)  # metric → ">= 0.55"


class Evaluation(Part, frozen=True, kw_only=True):
    paths: tuple[str, ...]
    command: str
    data: str  # the data set whose holdout rows are scored
    metric: Metric
    gate: Gate = Gate()
    resources: Limits = Limits()
    timeout: float = 3600.0


class Batch(Part, frozen=True, kw_only=True):
    max_size: int = 64


class Workers(Part, frozen=True, kw_only=True):
    """Processes of one replica. `count` 0: as many as `resources.cpu` has whole cores."""

    count: int = 0
    share: bool = True  # the model is loaded once, and they are forked


class Scale(Part, frozen=True, kw_only=True):
    """Replicas. One machine always runs `min`, and at least one; on Google Cloud 0 is none while nobody asks."""

    min: int = 0
    max: int = 4


class Api(Part, frozen=True, kw_only=True):
    paths: tuple[str, ...]
    lock: str | None = None
    dockerfile: str | None = None
    handler: str | None = None  # module.path:function — or
    command: str | None = None  # any HTTP server on $PORT
    examples: str | None = None
    batch: Batch = Batch()
    cache: Caching | None = None
    predictions: Predictions | None = None
    workers: Workers = Workers()
    scale: Scale = Scale()
    secrets: tuple[str, ...] = ()
    resources: Limits = Limits()
    timeout: float = 60.0  # seconds until every replica must be ready


class Auth(Part, frozen=True, kw_only=True):
    paths: tuple[str, ...]
    openapi: str
    docs: bool | None = None  # None: everywhere but in production


class GcpImages(Part, frozen=True, kw_only=True):
    builder: Literal["buildx", "kaniko"] = "buildx"
    cache_ttl: float = 14 * 86400.0  # seconds; kaniko's layers only


class GcpTraining(Part, frozen=True, kw_only=True):
    """What Vertex AI is asked for beyond `resources:`. `disk` in bytes."""

    machine: str = ""  # "": the smallest standard one that has the cores and the memory
    disk: int = 100 * 2**30
    scheduling: Literal["standard", "spot", "flex-start"] = "standard"
    network: str = ""  # a VPC network that is peered with Vertex AI
    parameter_servers: int = 0  # machines of worker pool 2
    evaluators: int = 0  # machines of worker pool 3
    tpu_topology: str = ""


class GcpApi(Part, frozen=True, kw_only=True):
    concurrency: int = 80  # requests that one replica answers at once
    network: str = ""  # a VPC network that replicas may reach directly
    subnet: str = ""


class GcpGateway(Part, frozen=True, kw_only=True):
    """`cors`: origins that browsers may call from, ("*",) for any."""

    cors: tuple[str, ...] = ()
    keys: Literal["mawasu", "google"] = "mawasu"  # whose API keys an `apiKey` scheme means


class Gcp(Part, frozen=True, kw_only=True):
    """`gcp:` — where a push to Google Cloud runs. It is part of no key: what a step gives does not depend on it."""

    project: str
    region: str
    bucket: str  # <project>-mawasu when left out
    github: str = ""  # owner/name of the repository whose pushes are built
    connection: str = "github"  # Cloud Build's connection to GitHub
    images: GcpImages = GcpImages()
    training: GcpTraining = GcpTraining()
    api: GcpApi = GcpApi()
    gateway: GcpGateway = GcpGateway()
    redis: int | None = None  # bytes of a Memorystore instance; None: none


class Feature(Part, frozen=True, kw_only=True):
    """One machine-learning function. `root` is the directory of its `mawasu.yaml`, "" for the top."""

    name: str
    root: str = ""
    environments: tuple[Environment, ...]
    data: tuple[DataSet, ...] = ()
    training: Training | None = None
    evaluation: Evaluation | None = None
    api: Api | None = None
    auth: Auth | None = None
    gcp: Gcp | None = None
