"""What rooms hand each other: small frozen values, no behaviour beyond naming and digests."""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NewType

import msgspec

Digest = NewType("Digest", str)
"""`sha256:` and 64 hex digits: the one form of digest everywhere (OCI image spec, descriptor.md)."""

Commit = NewType("Commit", str)
"""A git object name of a commit, 40 or 64 hex digits."""

CONTRACT = 1
"""Version of the contract with the user's code (design §4); part of every step's key."""


def digest_of(data: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def digest_of_value(value: Any) -> Digest:
    """Digest of a JSON value in one canonical form (sorted keys, no spaces, UTF-8; half characters as they are)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_of(text.encode("utf-8", "surrogatepass"))


def is_digest(text: str) -> bool:
    return re.fullmatch(r"sha256:[0-9a-f]{64}", text) is not None


def short(name: str) -> str:
    """How digests and commits are shown to people."""
    return name.removeprefix("sha256:")[:10]


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every word: immutable, compared by value, msgspec encodes it."""


class Look(Value, frozen=True):
    """A look at a data set's source: when (seconds since the epoch), the snapshot that was there, and what went wrong.

    `mark` stands for the source's contents where its owner tells that without reading it (generations of objects);
    "" where only reading tells.
    """

    at: float
    digest: Digest | None = None
    mark: str = ""
    trouble: str = ""


# ---------------------------------------------------------------------------------------------------- git


class File(Value, frozen=True):
    """One entry of a commit's tree: git's mode (`100644`, `100755`, `120000`, `160000`) and object name."""

    mode: str
    oid: str


class Tree(Value, frozen=True):
    """The files of a commit by path from the repository's root, `/`-separated."""

    files: Mapping[str, File]

    def under(self, root: str) -> Tree:
        """The files below `root`, with paths relative to it (`""` is the whole tree)."""
        if not root:
            return self
        start = root.rstrip("/") + "/"
        return Tree({path[len(start) :]: file for path, file in self.files.items() if path.startswith(start)})

    def digest(self) -> Digest:
        """One digest for names, modes and contents of all files, whatever their order."""
        lines = "".join(f"{file.mode} {file.oid}\t{path}\0" for path, file in sorted(self.files.items()))
        return digest_of(lines.encode())


class Push(Value, frozen=True):
    """A branch head moved from one commit to another; `new` is None when the branch was deleted."""

    project: str
    branch: str
    old: Commit | None
    new: Commit | None
    by: str = "hook"  # hook, watch, scan (found at start), run (working tree)
    dirty: bool = False  # a working tree that is no commit; never recorded as its commit


# ---------------------------------------------------------------------------------------------------- steps


class Result(enum.StrEnum):
    """How a step, job or build ended."""

    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    BLOCKED = "blocked"
    NOTHING = "nothing"  # a build only: nothing the feature reads has changed
    SERVED = "served"  # a build only: its release took the environment


class Outcome(Value, frozen=True):
    """What a step gave: how it ended, the digest of what it wrote (by name), numbers and one line for people."""

    result: Result
    outputs: Mapping[str, Digest] = {}
    seconds: float = 0.0
    message: str = ""
    hint: str = ""
    facts: Mapping[str, Any] = {}  # exit status, peak memory, verdict…: JSON values


# ---------------------------------------------------------------------------------------------------- images and jobs


class Resources(Value, frozen=True):
    """Limits of one job or replica. `memory` in bytes, `timeout` in seconds."""

    cpu: float = 1.0
    memory: int = 2 * 2**30
    timeout: float = 3600.0
    network: bool = False
    accelerator: str = ""  # as Vertex AI's AcceleratorType calls it, "" for none
    accelerators: int = 0  # of each machine
    workers: int = 1  # machines of one run


class ImageSpec(Value, frozen=True):
    """What an image is made from. `lock` is the path of the lock in `files`; `files` holds its text and what it needs.

    For `uv.lock` that is `pyproject.toml` beside it; hashed requirements stand alone. With a `dockerfile`, `files`
    also holds that and the part's files, which are its build context. Neither: an image with nothing but the
    interpreter.
    """

    key: Digest
    lock: str = ""
    files: Mapping[str, bytes] = {}
    name: str = ""  # readable: feature/branch/commit
    dockerfile: str = ""


class Image(Value, frozen=True):
    """A made image. `ref` means something to its platform only (locally: the directory of the environment)."""

    key: Digest
    ref: str  # on Google Cloud: registry/package@sha256:…


class Source(Value, frozen=True):
    """Files of a commit that a job or service may see: the repository that holds them, and which they are."""

    repo: str  # path of a git directory
    root: str  # the feature's root in the repository, "" for the top
    tree: Tree  # the declared files only, by path from the repository's root


class Mount(Value, frozen=True):
    """A stored directory shown read-only below a variable's directory (`variable`/`name`, or itself if name is "")."""

    variable: str
    digest: Digest
    name: str = ""


class Output(Value, frozen=True):
    """What a job must write: a directory or a file, told to it in `variable`; stored when the job succeeds."""

    variable: str
    kind: str = "directory"  # or "file"
    required: bool = True
    also: tuple[str, ...] = ()  # further variables set to the same path (AIP_MODEL_DIR)


class JobSpec(Value, frozen=True):
    """One run of a user's command (design §4), in its own workspace, with what it declares and nothing else."""

    name: str  # readable: feature/branch/commit/step
    command: str  # given to `sh -c`, in the feature's root
    source: Source
    image: Image
    resources: Resources
    mounts: tuple[Mount, ...] = ()
    outputs: tuple[Output, ...] = ()
    params: Mapping[str, Any] | None = None  # written as JSON, its path in MAWASU_PARAMS
    seed: int = 0
    environ: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    key: Digest | Literal[""] = ""  # of the step, so that a platform finds its job again; "": told by what it does
    preview: bool = False  # a platform may keep previews' code away from what stable environments rely on


# ---------------------------------------------------------------------------------------------------- services


class Caching(Value, frozen=True):
    """Which answers are kept, and how long: seconds, and bytes of `memory` in every replica."""

    ttl: float
    stale_while_revalidate: float = 0.0  # after that: given at once, and renewed meanwhile (RFC 5861)
    stale_if_error: float = 0.0  # after that: given when no new one can be had
    methods: tuple[str, ...] = ("GET", "POST")
    vary: tuple[str, ...] = ()  # headers of requests that answers depend on
    memory: int = 64 * 2**20
    warm: int = 0  # of the most asked requests, that a new revision is asked before it takes traffic


class Predictions(Value, frozen=True):
    """What is written into the prediction log, and how much of it is kept: seconds, bytes for each environment."""

    sample: float  # of 1
    redact: tuple[str, ...] = ()  # fields of inputs and outputs, wherever they stand, whose values are not written
    keep: float = 90 * 86400.0
    size: int = 2**30


class Handler(Value, frozen=True):
    """How a replica answers: `target` is `package.module:function` (with `load` beside it), or `command` a server."""

    target: str = ""
    command: str = ""
    max_batch: int = 64
    deadline: float = 15.0  # seconds one batch may take; then its callers get 504 and the worker is replaced
    cache: Caching | None = None
    workers: int = 1  # processes of one replica
    share: bool = True  # they are forked after the model is loaded
    predictions: Predictions | None = None  # None: no answer is remembered


class ServiceSpec(Value, frozen=True):
    """One revision: what every replica of it runs. `revision` is unique in the home and safe in a path."""

    revision: str
    feature: str
    environment: str
    release: Digest
    source: Source
    image: Image
    handler: Handler
    model: Digest | None
    resources: Resources
    replicas: int = 1  # at least this many, always; 0: none while nobody asks, where the platform can
    most: int = 1  # where the platform adds replicas when it is busy
    preview: bool = False
    environ: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    operations: tuple[str, ...] = ()  # that metrics tell apart, the most particular first: `POST /flights/{id}`
    bodies: str = ""  # schemas that a handler's server holds the bodies of requests to (`gateway.bodies`)


class Endpoint(Value, frozen=True):
    """Where a revision's replicas answer HTTP: paths of Unix sockets (locally), or one URL.

    With a URL, `audience` is the address of the service whose revision it is: what identity tokens are made out to,
    and where whoever the service's traffic goes to is reached (the gateway's backend).
    """

    revision: str
    sockets: tuple[str, ...] = ()
    url: str = ""  # of this revision, whatever traffic it gets
    audience: str = ""


class Health(enum.StrEnum):
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"  # some replicas are not ready
    FAILING = "failing"  # none is
    DRAINING = "draining"
    GONE = "gone"


class RevisionStatus(Value, frozen=True):
    revision: str
    health: Health
    replicas: int
    ready: int
    restarts: int
    message: str = ""


class Unit(Value, frozen=True):
    """Whom a split keeps on one revision, as the gateway knows it of a request.

    `consumer`: of the API key, or issuer and subject of the token where there is one. `claim`: the claim `name` of the
    verified token. `header`: what the caller says in the header `name`. `cookie`: a browser, by mawasu's own cookie.
    """

    kind: Literal["consumer", "claim", "header", "cookie"]
    name: str = ""


class Share(Value, frozen=True):
    """A revision and how many of 10,000 units it has."""

    endpoint: Endpoint
    weight: int


class Split(Value, frozen=True):
    """Revisions beside a site's own, each with its share of the units; the rest of them, and who has none, stay.

    What a unit meets is decided by its hash with `salt`: growing shares move units away from the site's own revision
    and nobody back to it, and another salt shuffles all.
    """

    unit: Unit
    salt: str
    shares: tuple[Share, ...]


class Site(Value, frozen=True):
    """One address of the gateway: a feature in an environment, its OpenAPI document and who answers."""

    feature: str
    environment: str
    openapi: str  # the document's text (YAML or JSON)
    path: str  # its path in the repository, for messages
    endpoint: Endpoint
    split: Split | None = None
    docs: bool = False  # whether it has an API reference page

    @property
    def prefix(self) -> str:
        return f"/{self.feature}/{self.environment}"


class PublicKey(Value, frozen=True):
    """The half of an API key that is kept (the gateway issue): a JWK, who it stands for and where it opens."""

    id: str  # = kid
    consumer: str
    jwk: Mapping[str, str]
    grants: tuple[str, ...]  # "feature/environment", either side may be "*"
    created: float  # seconds since the epoch
    expires: float | None = None
    replaced: bool = False  # by another, so that `expires` is the end of its grace
