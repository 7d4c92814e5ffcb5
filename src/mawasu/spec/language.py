"""The language of `mawasu.yaml`: every key, what may stand there, and what it means."""

from __future__ import annotations

from typing import Final, get_args

from mawasu.spec import units
from mawasu.spec.feature import Metric
from mawasu.spec.kinds import Choice, Json, Key, ListOf, MapOf, NotBuilt, Number, Scalar, Section, Switch, Text

METRICS: Final[tuple[str, ...]] = get_args(Metric)

NAME = Text("a name such as `flight-delay`", units.name, units.NAME)
ENVIRONMENT_NAME = Text(
    "the name of an environment such as `staging`", units.environment_name, f"(?!preview-){units.NAME}"
)
BRANCH = Text("a branch or a glob of branches, such as `main` or `release/*`", units.branch_glob, r"[^\s/](.*[^\s/])?")
FILE = Text("the path of a file", units.file_path, r"[^/~\s](.*[^/])?")
GLOBS = ListOf(Text("a path or glob such as `training/**`", units.path_glob, r"[^/~\s].*"))
COMMAND = Text("a command such as `python training/train.py`", units.some_text, r"[\s\S]*\S[\s\S]*")
COLUMN = Text("the name of a column", units.some_text, r"[\s\S]*\S[\s\S]*")
DURATION = Text("a time such as `30s`, `30m`, `1h` or `7d`", units.duration, units.DURATION)
MEMORY = Text("a size such as `512Mi` or `4Gi`", units.memory, units.MEMORY)
BOUND = Text('a bound such as ">= 0.55"', units.bound, f" *{units.BOUND} *")
SECRETS = ListOf(Text("the name of a secret such as `MAPS_TOKEN`", units.secret, units.VARIABLE), empty=True)
LOCK = Text(
    "the path of a `uv.lock`, or of a requirements file with hashes", units.lock, r"([^/~\s].*/)?(uv\.lock|[^/]*\.txt)"
)

_LOCK_DOC = "The packages: a `uv.lock` (with its pyproject.toml beside it), or requirements with hashes."
_DOCKERFILE = Key(
    FILE, "An image of your own, made from `paths`; Google Cloud takes it before `lock`, one machine needs `lock`."
)
_SECRETS_DOC = "Names of secrets, given as variables; their values live outside git (`mawasu secrets set`)."

ENVIRONMENT = Section(
    {
        "branch": Key(BRANCH, "Branches that go here; `*` stops at `/`, `**` does not."),
        "expires": Key(DURATION, "Previews only: the time without a push after which it is taken down."),
    }
)

SOURCE = Section(
    {
        "files": Key(
            ListOf(Text("a path or a glob such as `data/*.csv`", units.data_files, r"[^/~\s].*"), single=True),
            "Files of the repository, from the feature's root.",
        ),
        "path": Key(
            Text("an absolute path, a `file://` URI, or `gs://BUCKET/…`", units.outside, units.OUTSIDE),
            "A file or directory outside the repository, an object of Cloud Storage, or all below a prefix; "
            "data.lock holds its digest.",
        ),
        "sql": Key(NotBuilt("data from a database"), "Not built yet."),
        "connection": Key(NotBuilt("data from a database"), "Not built yet."),
        "bigquery": Key(NotBuilt("data from BigQuery"), "Not built yet."),
        "command": Key(NotBuilt("data that a command writes"), "Not built yet."),
    },
    one_of=("files", "path"),
)

HOLDOUT = Section(
    {
        "column": Key(COLUMN, "Rows are held out by their value in this column."),
        "in": Key(ListOf(Scalar("a value of the column")), "The values whose rows are held out."),
        "fraction": Key(
            Number("a number between 0 and 1", over=0, under=1),
            "The share of rows that is held out.",
        ),
        "key": Key(COLUMN, "The column that is hashed; `row` when it is left out."),
    },
    one_of=("column", "fraction"),
    needs={"column": "in", "in": "column", "key": "fraction"},
)

DATA_SET = Section(
    {
        "source": Key(SOURCE, "Where the data comes from.", required=True),
        "holdout": Key(HOLDOUT, "Rows that training never sees."),
        "label": Key(COLUMN, "The column to predict; the evaluation command does not see it."),
        "row": Key(COLUMN, "The column that names a row."),
        "groups": Key(NotBuilt("explaining a data change by groups"), "Not built yet."),
        "refresh": Key(
            Text("`hourly`, `daily`, `weekly`, or a time such as `6h`", units.refresh, units.REFRESH),
            "How often the source's `path` is looked at: what is new there arrives as a commit that moves data.lock.",
        ),
    }
)

RESOURCES = Section(
    {
        "cpu": Key(Number("a number of cores such as 2 or 0.5", over=0, most=1024), "Cores; 1 when left out."),
        "memory": Key(MEMORY, "Memory, such as 512Mi or 4Gi; 2Gi when left out."),
        "network": Key(Switch(), "Whether the command may use the network; false when left out."),
        "accelerator": Key(
            Text("an accelerator such as `NVIDIA_L4`, `NVIDIA_L4:2` or `none`", units.accelerator, units.ACCELERATOR),
            "Training on Google Cloud: what each machine has; none when left out.",
        ),
        "workers": Key(
            Number("a whole number from 1 to 1000", whole=True, least=1, most=1000),
            "Training on Google Cloud: machines of one run; 1 when left out.",
        ),
    }
)
_RESOURCES = Key(RESOURCES, "Limits of one run, or of one replica.")

TRAINING = Section(
    {
        "paths": Key(GLOBS, "The files that training may see; a change of any of them trains again.", required=True),
        "lock": Key(LOCK, _LOCK_DOC),
        "dockerfile": _DOCKERFILE,
        "command": Key(COMMAND, "Run in the feature's root; writes the model to $MAWASU_MODEL.", required=True),
        "data": Key(ListOf(NAME, empty=True), "Names of data sets, found below $MAWASU_DATA."),
        "params": Key(Json(mapping=True), "Any values, given as the JSON file $MAWASU_PARAMS."),
        "resources": _RESOURCES,
        "timeout": Key(DURATION, "The whole process tree is ended after this time; 1h when left out."),
        "seed": Key(Number("a whole number below 2**32", whole=True, least=0, most=2**32 - 1), "$MAWASU_SEED."),
        "secrets": Key(SECRETS, _SECRETS_DOC),
    }
)

_PERCENT = Number("a number from 0.5 to 1, without 1", least=0.5, under=1)
GATE = Section(
    {
        "not_worse_by": Key(Number("a number from 0", least=0), "How much worse than the champion is still no loss."),
        "confidence": Key(_PERCENT, "Of the one-sided test; 0.95 when left out."),
        "slices": Key(ListOf(COLUMN, empty=True), "Columns: no group of rows with one value may get worse."),
        "first": Key(
            MapOf(
                Choice(METRICS),
                Text('a bound such as ">= 0.55"', units.bound, f" *{units.BOUND} *"),
                "bounds by metric",
            ),
            'What the very first model must reach, such as {roc_auc: ">= 0.55"}.',
        ),
    }
)

EVALUATION = Section(
    {
        "paths": Key(GLOBS, "The files that the command may see; training's when left out."),
        "command": Key(COMMAND, "Writes row and score of every held-out row to $MAWASU_PREDICTIONS.", required=True),
        "data": Key(NAME, "The data set whose holdout is scored; may be left out when only one has a holdout."),
        "metric": Key(Choice(METRICS), "What is compared with the champion.", required=True),
        "gate": Key(GATE, "When a model may take an environment."),
        "resources": _RESOURCES,
        "timeout": Key(DURATION, "As in training."),
    }
)

_COUNT = Number("a whole number from 1 to 1000", whole=True, least=1, most=1000)
_LEAST = Number("a whole number from 0 to 1000", whole=True, least=0, most=1000)
CACHE = Section(
    {
        "ttl": Key(DURATION, "How long an answer is given without asking again.", required=True),
        "stale_while_revalidate": Key(DURATION, "After `ttl`: still given, while a new answer is fetched."),
        "stale_if_error": Key(DURATION, "After `ttl`: still given when no new answer can be had."),
        "methods": Key(
            ListOf(Choice(("GET", "POST"))), "Of a `command`: those that change nothing; [GET] when left out."
        ),
        "vary": Key(
            ListOf(Text("a header such as `Accept-Language`", units.header, units.HEADER)),
            "Headers of requests that answers depend on.",
        ),
        "memory": Key(MEMORY, "What every replica keeps by itself; 64Mi when left out."),
        "warm": Key(
            Number("a whole number from 1 to 1000", whole=True, least=1, most=1000),
            "A new revision is asked so many of the most asked requests before it takes traffic, on one machine.",
        ),
    }
)
PREDICTIONS = Section(
    {
        "sample": Key(
            Number("a number over 0, at most 1", over=0, most=1),
            "Which share of answers is written; the same unit is always in it, or always out.",
            required=True,
        ),
        "redact": Key(
            ListOf(Text("the name of a field", units.some_text, r"[\s\S]*\S[\s\S]*")),
            "Fields of inputs and outputs, wherever they stand, whose values never reach the disk.",
        ),
        "keep": Key(DURATION, "How long; 90d when left out."),
        "size": Key(MEMORY, "How much of it for each environment, then the oldest goes; 1Gi when left out."),
    }
)
API = Section(
    {
        "paths": Key(GLOBS, "The files that the server may see.", required=True),
        "lock": Key(LOCK, _LOCK_DOC),
        "dockerfile": _DOCKERFILE,
        "handler": Key(
            Text("`package.module:function`", units.handler, units.HANDLER),
            "The function that answers a batch.",
        ),
        "command": Key(COMMAND, "Any HTTP server that listens on $PORT and answers GET /healthz."),
        "examples": Key(FILE, "Golden answers and invariances, tried before any caller sees the release."),
        "batch": Key(
            Section(
                {
                    "max_size": Key(
                        Number("a whole number from 1 to 65536", whole=True, least=1, most=65536), "64 when left out."
                    ),
                }
            ),
            "How the handler's requests are put together.",
        ),
        "cache": Key(CACHE, "Answers are kept; none are when left out."),
        "predictions": Key(PREDICTIONS, "The prediction log, on one machine; nothing is written when left out."),
        "workers": Key(
            Section(
                {
                    "count": Key(
                        Number("a whole number from 1 to 256", whole=True, least=1, most=256),
                        "Processes; as many as `resources.cpu` has whole cores when left out.",
                    ),
                    "share": Key(
                        Switch(),
                        "Whether the model is loaded once and the processes are forked from there; true when left out.",
                    ),
                }
            ),
            "The processes of one replica that run the handler.",
        ),
        "scale": Key(
            Section(
                {
                    "min": Key(_LEAST, "Replicas at least; 0 when left out. One machine runs at least one."),
                    "max": Key(_COUNT, "Replicas at most, on Google Cloud; one machine always runs `min`."),
                }
            ),
            "How many replicas answer.",
        ),
        "secrets": Key(SECRETS, _SECRETS_DOC),
        "resources": _RESOURCES,
        "timeout": Key(DURATION, "Within this time every replica must be ready; 60s when left out."),
    },
    one_of=("handler", "command"),
)

AUTH = Section(
    {
        "paths": Key(GLOBS, "The files of this part; the OpenAPI file alone when left out."),
        "openapi": Key(FILE, "The gateway is compiled from this document.", required=True),
        "docs": Key(
            Switch(),
            "On one machine: whether the document is shown to everybody at `/<feature>/<environment>/docs`; "
            "when left out everywhere but in `production`.",
        ),
    }
)

_NETWORK = Text("the name of a VPC network such as `default`", units.network, units.NETWORK)
GCP = Section(
    {
        "project": Key(
            Text("a project's id such as `acme-ml`", units.gcp_project, units.GCP_PROJECT), "Its id.", required=True
        ),
        "region": Key(
            Text("a region such as `europe-west1`", units.gcp_region, units.GCP_REGION),
            "Where everything runs and is kept.",
            required=True,
        ),
        "bucket": Key(
            Text("a bucket's name such as `acme-ml-mawasu`", units.gcp_bucket, units.GCP_BUCKET),
            "Ledger, models and data; `<project>-mawasu` when left out.",
        ),
        "github": Key(
            Text("a repository such as `acme/resumes`", units.github, units.GITHUB),
            "The repository whose pushes are built.",
        ),
        "connection": Key(NAME, "The name of Cloud Build's connection to GitHub; `github` when left out."),
        "images": Key(
            Section(
                {
                    "builder": Key(Choice(("buildx", "kaniko")), "What makes images; buildx when left out."),
                    "cache_ttl": Key(DURATION, "How long kaniko keeps its layers; 14d when left out."),
                }
            ),
            "How images are made.",
        ),
        "training": Key(
            Section(
                {
                    "machine": Key(
                        Text("a machine type such as `n1-standard-8`", units.machine, units.MACHINE),
                        "Of every worker; the smallest standard one that fits `resources` when left out.",
                    ),
                    "disk": Key(MEMORY, "The disk of every worker; 100Gi when left out."),
                    "scheduling": Key(
                        Choice(("standard", "spot", "flex-start")), "Cheaper machines may be taken away, or come later."
                    ),
                    "network": Key(_NETWORK, "A VPC network that is peered with Vertex AI."),
                    "parameter_servers": Key(_LEAST, "Machines of worker pool 2; none when left out."),
                    "evaluators": Key(_LEAST, "Machines of worker pool 3; none when left out."),
                    "tpu_topology": Key(
                        Text("a topology such as `2x2`", units.topology, units.TOPOLOGY), "Of TPUs from v5e on."
                    ),
                }
            ),
            "What Vertex AI is asked for beyond `training.resources`.",
        ),
        "api": Key(
            Section(
                {
                    "concurrency": Key(_COUNT, "Requests that one replica answers at once; 80 when left out."),
                    "network": Key(_NETWORK, "A VPC network that replicas reach directly."),
                    "subnet": Key(_NETWORK, "Its subnet."),
                },
                needs={"subnet": "network"},
            ),
            "How Cloud Run runs the API.",
        ),
        "gateway": Key(
            Section(
                {
                    "cors": Key(
                        ListOf(Text("an origin such as `https://example.com`, or `*`", units.origin, units.ORIGIN)),
                        "Origins that browsers may call from.",
                    ),
                    "keys": Key(Choice(("mawasu", "google")), "Whose API keys are taken; mawasu's when left out."),
                }
            ),
            "How ESPv2 runs.",
        ),
        "redis": Key(MEMORY, "The size of a Memorystore instance for the cache; none when left out."),
    }
)

MAWASU_YAML = Section(
    {
        "feature": Key(NAME, "With the branch it names every artifact.", required=True),
        "environments": Key(
            MapOf(ENVIRONMENT_NAME, ENVIRONMENT, "environments by name, such as {production: {branch: production}}"),
            "Where branches go; production, staging (main) and a preview of any other branch when left out.",
        ),
        "data": Key(MapOf(NAME, DATA_SET, "data sets by name"), "Data sets; data.lock pins each by its digest."),
        "training": Key(TRAINING, "What writes the model."),
        "evaluation": Key(EVALUATION, "How a model is judged against the champion."),
        "api": Key(API, "What answers."),
        "auth": Key(AUTH, "Who may call."),
        "gcp": Key(GCP, "Where a push to Google Cloud runs; not read on one machine."),
    }
)
