"""What an operation of OpenAPI 3 or Swagger 2.0 takes and gives, in the words of Swagger 2.0."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mawasu.gateway.document import Path, kind_of, nearest
from mawasu.gateway.openapi import Found, Reading
from mawasu.gateway.schemas import Dict, Names, Schemas, simple
from mawasu.words import digest_of

PLACES = ("path", "query", "header", "cookie")
SWAGGER_PLACES = ("path", "query", "header", "formData", "body")
BODILESS = ("GET", "HEAD", "DELETE", "OPTIONS", "TRACE")
_VARIABLE = re.compile(r"\{([^{}/]*)\}")


class Template:
    """A path template in Google's grammar (google.api.http): a variable is a segment, its name an identifier."""

    def __init__(self, path: str, like: Template | None = None) -> None:
        """`like`: one that matches the same paths, whose names are taken, since Swagger has it once only."""
        self.variables: list[str] = _VARIABLE.findall(path)
        names = Names()
        given = [names.give(name, digest_of(name.encode()).removeprefix("sha256:")) for name in self.variables]
        given = list(like.names.values()) if like is not None else given
        self.names: dict[str, str] = dict(zip(self.variables, given, strict=True))
        self.path = _VARIABLE.sub(lambda match: "{" + self.names[match[1]] + "}", path)

    @staticmethod
    def fault_of(path: str) -> str:
        """What Endpoints would not match in it."""
        *before, last = path.split("/")
        if any(_VARIABLE.search(segment) and not _VARIABLE.fullmatch(segment) for segment in (*before, last)):
            return "Cloud Endpoints matches a template variable to a whole segment only: write /{name}/"
        if "*" in _VARIABLE.sub("", path):
            return "Cloud Endpoints takes '*' in a path for a wildcard"
        if any(":" in segment for segment in before) or last.count(":") > 1 or last.startswith(":"):
            return "Cloud Endpoints takes ':' in a path for the beginning of its last word"
        return ""

    @property
    def parameters(self) -> list[Dict]:
        """Every variable as a parameter, for an operation that declares none."""
        return [{"name": name, "in": "path", "required": True, "type": "string"} for name in self.names.values()]


def describe(reading: Reading, found: Found, schemas: Schemas, template: Template) -> Dict:
    """`parameters`, `responses`, `consumes`, `produces` and the texts of one operation; faults go to the reading."""
    parameters, consumes = _parameters(reading, found, schemas, template)
    responses, produces = _responses(reading, found, schemas)
    texts = {key: found.body[key] for key in ("summary", "description") if isinstance(found.body.get(key), str)}
    said = {"parameters": parameters, "consumes": consumes, "produces": produces}
    return texts | {key: value for key, value in said.items() if value} | {"responses": responses}


def _parameters(reading: Reading, found: Found, schemas: Schemas, template: Template) -> tuple[list[Dict], list[str]]:
    """The parameters, those of the path first, and the media types of the body."""
    declared: dict[tuple[str, str], Dict] = {}
    body: Dict | None = None
    for at, value in _declared(reading, found):
        name, place = reading.doc.text(value.get("name"), (*at, "name")), str(value.get("in"))
        known = SWAGGER_PLACES if reading.swagger else PLACES
        if place not in known:
            near = nearest(place, known)
            reading.fault((*at, "in"), f"expected one of {', '.join(known)}, found {kind_of(value.get('in'))}{near}")
        elif place == "body":
            body = _body(value.get("schema"), value, schemas)
        elif place == "path" and name not in template.variables:
            reading.fault((*at, "name"), f"the path has no variable {{{name}}}{nearest(name, template.variables)}")
        elif place not in ("path", "cookie") and name:  # Swagger 2.0 has no cookies
            declared[place, name] = _parameter(reading, value, {"name": name, "in": place})
        elif place == "path":
            declared[place, name] = _parameter(reading, value, {"name": template.names[name], "in": place})
    of_path = [
        declared.pop(("path", name), {"name": template.names[name], "in": "path", "type": "string"})
        | {"required": True}
        for name in template.variables
    ]
    consumes = _texts(found.body.get("consumes", reading.root.get("consumes"))) if reading.swagger else []
    if not reading.swagger and "requestBody" in found.body:
        asked, _ = reading.doc.resolve(found.body["requestBody"], (*found.at, "requestBody"))
        schema, consumes = _content(asked)
        body = _body(schema, asked, schemas)
    if found.operation.method in BODILESS:
        body, consumes = None, []
    taken = {name for _, name in declared} | set(template.names.values())
    rest = [body | {"name": _free("body", taken)}] if body else []
    return of_path + list(declared.values()) + rest, consumes


def _declared(reading: Reading, found: Found) -> list[tuple[Path, Mapping[str, Any]]]:
    """The parameters of the path item, then of the operation: of two with one name and place the later counts."""
    listed: list[tuple[Path, Mapping[str, Any]]] = []
    for holder, at in ((found.item, found.at[:-1]), (found.body, found.at)):
        value = holder.get("parameters", [])
        if not isinstance(value, list):
            reading.fault((*at, "parameters"), f"expected a list, found {kind_of(value)}")
            continue
        for index, item in enumerate(value):
            target, _ = reading.doc.resolve(item, (*at, "parameters", index))
            listed.append(((*at, "parameters", index), reading.doc.mapping(target, (*at, "parameters", index))))
    return listed


def _parameter(reading: Reading, value: Mapping[str, Any], said: Dict) -> Dict:
    if isinstance(value.get("description"), str):
        said["description"] = value["description"]
    if value.get("required") is True:
        said["required"] = True
    if value.get("type") == "file":
        return said | {"type": "file"}
    schema = value if reading.swagger else value.get("schema", {})
    said |= {
        key: item for key, item in simple(schema, lambda one: _resolved(reading, one)).items() if key != "required"
    }
    several = value.get("collectionFormat") == "multi" if reading.swagger else value.get("explode", True) is True
    if said["type"] == "array" and said["in"] == "query" and several:
        said["collectionFormat"] = "multi"
    return said


def _resolved(reading: Reading, value: Any) -> Mapping[str, Any]:
    found, _ = reading.doc.resolve(value, ())
    return found if isinstance(found, Mapping) else {}


def _body(schema: Any, around: Any, schemas: Schemas) -> Dict:
    """A body parameter; its name is given later, for no other may have it."""
    required = {"required": True} if isinstance(around, Mapping) and around.get("required") is True else {}
    return {"in": "body", "schema": schemas.convert(schema if schema is not None else {})} | required


def _free(wish: str, taken: set[str]) -> str:
    while wish in taken:
        wish += "_"
    return wish


def _responses(reading: Reading, found: Found, schemas: Schemas) -> tuple[dict[str, Dict], list[str]]:
    """By status (`2XX` of OpenAPI 3 is `200` where that is free); one at least, as Swagger wants."""
    responses: dict[str, Dict] = {}
    produces: dict[str, None] = {}
    given = found.body.get("responses")
    items = sorted(given.items(), key=lambda item: "X" in str(item[0])) if isinstance(given, Mapping) else []
    for status, value in items:
        code = str(status).replace("X", "0")
        if not re.fullmatch(r"[1-5][0-9]{2}|default", code) or code in responses:
            continue
        answer = _resolved(reading, value)
        schema, kinds = (answer.get("schema"), []) if reading.swagger else _content(answer)
        text = answer.get("description")
        responses[code] = {"description": text if isinstance(text, str) else ""}
        if schema is not None:
            responses[code]["schema"] = schemas.convert(schema)
        produces.update(dict.fromkeys(kinds))
    if reading.swagger:
        produces = dict.fromkeys(_texts(found.body.get("produces", reading.root.get("produces"))))
    return responses or {"default": {"description": ""}}, list(produces)


def _content(value: Any) -> tuple[Any, list[str]]:
    """The schema of a body or an answer, JSON's if it has one, and its media types."""
    content = value.get("content") if isinstance(value, Mapping) else None
    if not isinstance(content, Mapping) or not content:
        return None, []
    kinds = [str(kind) for kind in content]
    best = next((kind for kind in kinds if "json" in kind), kinds[0])
    media = content[best]
    return (media.get("schema") if isinstance(media, Mapping) else None), kinds


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
