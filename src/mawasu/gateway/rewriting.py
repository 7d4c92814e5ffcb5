"""The path that a back end is asked for, in place of the caller's.

Envoy replaces paths by expressions and leaves the query alone; where a variable must come into the query, as in ESPv2's
CONSTANT_ADDRESS, a few lines of Lua do it (envoy.extensions.filters.http.lua.v3), on such routes only.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from mawasu.gateway import templates
from mawasu.gateway.authn import TYPE
from mawasu.gateway.forms import Outside

Dict = dict[str, Any]

FILTER = "mawasu.constant"
LUA = """\
-- What may stand in a path and would mean something else in a query.
local function quoted(text)
  return (text:gsub("[&+;=#]", function(char) return string.format("%%%02X", char:byte()) end))
end

function envoy_on_request(handle)
  local route = handle:filterContext()
  local path, query = handle:headers():get(":path"):match("^([^?]*)%??(.*)$")
  for number, value in ipairs({path:match(route:get("pattern"))}) do
    query = query .. (query == "" and "" or "&") .. route:get("names")[number] .. "=" .. quoted(value)
  end
  handle:headers():replace(":path", path .. "?" .. query)
end
"""


def filter_() -> Dict:
    """Where a route says nothing of it, it is not there."""
    body: Dict = {"@type": f"{TYPE}extensions.filters.http.lua.v3.Lua", "clear_route_cache": False}
    return {
        "name": FILTER,
        "disabled": True,
        "typed_config": body | {"default_source_code": {"inline_string": LUA}},
    }


def own(prefix: str, match: Dict) -> Dict:
    """The feature's API sees the path that its document names."""
    return {"prefix_rewrite": match["path"].removeprefix(prefix) or "/" if "path" in match else "/"}


def outside(backend: Outside, prefix: str, match: Dict) -> Dict:
    """An outside back end sees its own path, and that one after it unless it is constant."""
    if "path" in match:
        rest = "" if backend.constant else match["path"].removeprefix(prefix)
        return {"prefix_rewrite": backend.path + rest or "/"}
    if backend.constant:
        return {"regex_rewrite": {"pattern": {"regex": "^.*"}, "substitution": backend.path or "/"}}
    return {"prefix_rewrite": f"{backend.path}/"}


def variables(backend: Outside, prefix: str, template: str) -> Dict:
    """The filter on a route to a constant path: what the variables stood for goes into the query, after the caller's.

    Empty where there are none. The caller's path stays for the route to replace.
    """
    if not backend.constant or templates.is_literal(template):
        return {}
    texts, names = templates.parts(template)
    pattern = "([^/]+)".join(_escaped(text) for text in (prefix + texts[0], *texts[1:]))
    said = {"pattern": f"^{pattern}/?$", "names": [quote(name, safe="") for name in names]}
    return {FILTER: {"@type": f"{TYPE}extensions.filters.http.lua.v3.LuaPerRoute", "filter_context": said}}


def _escaped(text: str) -> str:
    """Text as a pattern of Lua (its manual, 5.4.1)."""
    return re.sub(r"([^\w/])", r"%\1", text, flags=re.ASCII)
