"""A document without faults to a `Feature` with every default filled in."""

from __future__ import annotations

from typing import Any, TypeVar

from mawasu.errors import SpecError
from mawasu.spec import globs
from mawasu.spec.faults import Fault
from mawasu.spec.feature import (
    Api,
    Auth,
    Batch,
    DataSet,
    DataSource,
    Environment,
    Evaluation,
    Feature,
    Gate,
    Gcp,
    GcpApi,
    GcpGateway,
    GcpImages,
    GcpTraining,
    Holdout,
    Limits,
    Part,
    Scale,
    Training,
    Workers,
)
from mawasu.spec.kinds import Place
from mawasu.spec.language import MAWASU_YAML
from mawasu.spec.parse import Document
from mawasu.spec.references import Values, is_preview
from mawasu.words import Caching, Predictions

EXPIRES = 7 * 86400.0

DEFAULT_ENVIRONMENTS = (
    Environment(name="production", branch="production"),
    Environment(name="staging", branch="main"),
    Environment(name="preview", branch="**", expires=EXPIRES, preview=True),
)

P = TypeVar("P", bound=Part)


def complete(document: Document, *, root: str = "") -> Feature:
    """The feature that a document without faults describes; SpecError if values in it cannot be read.

    `root` is the directory of the file in its repository, "" for the top.
    """
    faults: list[Fault] = list(document.faults)
    if document.root is None:
        raise SpecError(document.faults)
    values: Values = MAWASU_YAML.read(document.root, Place(document.file, faults))
    if faults:
        raise SpecError(tuple(faults))
    data = tuple(_data_set(name, section) for name, section in values.get("data", {}).items())
    training = _training(values.get("training"))
    return Feature(
        name=values["feature"],
        root=root.strip("/"),
        environments=_environments(values.get("environments")),
        data=data,
        training=training,
        evaluation=_evaluation(values.get("evaluation"), training, data),
        api=_api(values.get("api")),
        auth=_auth(values.get("auth")),
        gcp=_gcp(values.get("gcp")),
    )


def _environments(section: Values | None) -> tuple[Environment, ...]:
    return DEFAULT_ENVIRONMENTS if section is None else tuple(_environment(*item) for item in section.items())


def _environment(name: str, section: Values) -> Environment:
    if not is_preview(name, section):
        return Environment(name=name, branch=section["branch"])
    expires = section.get("expires", EXPIRES)
    return Environment(name=name, branch=section.get("branch", "**"), expires=expires, preview=True)


def _data_set(name: str, section: Values) -> DataSet:
    holdout = dict(section.get("holdout", {}))
    if "in" in holdout:
        holdout["among"] = holdout.pop("in")
    if "fraction" in holdout:
        holdout.setdefault("key", section.get("row"))
    return DataSet(
        name=name,
        source=_make(DataSource, section["source"]),
        holdout=_make(Holdout, holdout) if holdout else None,
        label=section.get("label"),
        row=section.get("row"),
        refresh=section.get("refresh"),
    )


def _training(section: Values | None) -> Training | None:
    return None if section is None else _make(Training, section, resources=_limits(section))


def _evaluation(section: Values | None, training: Training | None, data: tuple[DataSet, ...]) -> Evaluation | None:
    if section is None:
        return None
    held_out = [data_set.name for data_set in data if data_set.holdout]
    defaults = {"paths": training.paths if training else (), "data": held_out[0] if held_out else ""}
    gate = _make(Gate, section.get("gate", {}))
    return _make(Evaluation, defaults | section, gate=gate, resources=_limits(section))


def _api(section: Values | None) -> Api | None:
    if section is None:
        return None
    scale: dict[str, int] = section.get("scale", {})
    low = scale.get("min", 0)
    return _make(
        Api,
        section,
        batch=_make(Batch, section.get("batch", {})),
        cache=_cache(section),
        predictions=Predictions(**section["predictions"]) if "predictions" in section else None,
        workers=_make(Workers, section.get("workers", {})),
        scale=Scale(min=low, max=scale.get("max", max(low, Scale().max))),
        resources=_limits(section),
    )


def _cache(section: Values) -> Caching | None:
    """A handler's answers are functions of the body, whatever the method; a server's own may change something."""
    if "cache" not in section:
        return None
    return Caching(**{"methods": ("GET",) if "command" in section else ("GET", "POST"), **section["cache"]})


def _auth(section: Values | None) -> Auth | None:
    """The document belongs to its part whatever `paths` says: a change of it must not go unnoticed."""
    if section is None:
        return None
    openapi, paths = section["openapi"], section.get("paths", ())
    paths = paths if globs.match_any(paths, openapi) else (*paths, openapi)
    return Auth(paths=paths, openapi=openapi, docs=section.get("docs"))


def _gcp(section: Values | None) -> Gcp | None:
    if section is None:
        return None
    return _make(
        Gcp,
        {"bucket": f"{section['project']}-mawasu", **section},
        images=_make(GcpImages, section.get("images", {})),
        training=_make(GcpTraining, section.get("training", {})),
        api=_make(GcpApi, section.get("api", {})),
        gateway=_make(GcpGateway, section.get("gateway", {})),
    )


def _limits(section: Values) -> Limits:
    given: dict[str, Any] = dict(section.get("resources", {}))
    if "accelerator" in given:
        given["accelerator"], given["accelerators"] = given["accelerator"]
    return _make(Limits, {key: value for key, value in given.items() if key in Limits.__struct_fields__})


def _make(kind: type[P], section: Values, **made: Any) -> P:
    return kind(**{**section, **made})
