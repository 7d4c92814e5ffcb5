"""Back ends outside mawasu: `x-google-backend` with an address, as ESPv2 has it, and what no document may make us call.

Who may push chooses the address. So it is an https URL whose certificate is verified, no address of this machine's
surroundings, and the local gateway calls only hosts that whoever runs mawasu named. See
decisions/0017-outside-back-ends.md. Source: cloud.google.com/endpoints/docs/openapi/openapi-extensions.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from mawasu.gateway.document import Document, Path, kind_of, nearest
from mawasu.gateway.forms import DEADLINE, Outside

if TYPE_CHECKING:
    from mawasu.gateway.openapi import Reading

BACKEND = "x-google-backend"
ADDRESS, AUDIENCE, OPEN, TRANSLATION, PROTOCOL = (
    "address",
    "jwt_audience",
    "disable_auth",
    "path_translation",
    "protocol",
)
OF_ADDRESS = (AUDIENCE, OPEN, TRANSLATION, PROTOCOL)
LONGEST = 3600.0
APPEND, CONSTANT = "APPEND_PATH_TO_ADDRESS", "CONSTANT_ADDRESS"
PROTOCOLS = ("http/1.1", "h2")

_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*")
_NAME = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A host's name (RFC 1123). Its last label begins with a letter: some take `2852039166` for 169.254.169.254."""

METADATA = frozenset({"metadata.google.internal", "metadata"})


def parse(doc: Document, root: Mapping[str, Any], body: Mapping[str, Any], at: Path) -> tuple[float, Outside | None]:
    """The deadline of an operation, and who answers it if not the feature's own API.

    What stands in the operation replaces what stands at the top of the document.
    """
    body, at = (body, at) if BACKEND in body else (root, ())
    if BACKEND not in body:
        return DEADLINE, None
    here = (*at, BACKEND)
    said = doc.mapping(body[BACKEND], here)
    for key in said.keys() - {"deadline", ADDRESS, *OF_ADDRESS}:
        doc.fault((*here, key), f"unknown key{nearest(key, ('deadline', ADDRESS, *OF_ADDRESS))}")
    if ADDRESS in said:
        # ESPv2's defaults: the whole document is appended to an address, an operation has a constant one.
        return _deadline(doc, said, here), _outside(doc, said, here, CONSTANT if at else APPEND)
    for key in said.keys() & set(OF_ADDRESS):
        doc.fault((*here, key), "belongs to an address, and there is none: the feature's own API answers")
    return _deadline(doc, said, here), None


def refuse(reading: Reading, back_ends: Collection[str]) -> None:
    """Faults for what the local gateway would not call (`is_allowed`)."""
    outside = [found for found in reading.operations if found.operation.backend is not None]
    wanted = {found.operation.backend.authority for found in outside if found.operation.backend is not None}
    allow = f"`mawasu up --back-ends {','.join(sorted(wanted | set(back_ends)))}`"  # it replaces what was said before
    for found in outside:
        backend = found.operation.backend
        assert backend is not None
        here = (*found.at, BACKEND) if BACKEND in found.body else (BACKEND,)
        if backend.audience:
            cause = "the local gateway has no identity of Google's to show to a back end"
            reading.fault(here, f"{cause}: say `disable_auth: true`")
        if backend.authority not in back_ends:
            cause = f"whoever runs this mawasu has not allowed {backend.authority} as a back end"
            reading.fault((*here, ADDRESS), f"{cause}: {allow}")


def is_allowed(backend: Outside, back_ends: Collection[str]) -> bool:
    """Whether the local gateway calls it. `back_ends`: authorities as `authority_of` writes them."""
    return backend.authority in back_ends and not backend.audience


def authority_of(text: str) -> str:
    """`host` or `host:port` as `Outside.authority` writes it; empty for what is no host to call."""
    found = _split(f"https://{text}")
    if found is None or found.path or found.query or found.fragment or found.username is not None:
        return ""
    host = found.hostname or ""
    return "" if host_fault(host) else Outside(host, found.port or 443).authority


def _deadline(doc: Document, said: Mapping[str, Any], at: Path) -> float:
    value = said.get("deadline", DEADLINE)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST:
        doc.fault((*at, "deadline"), f"expected seconds, above 0 and at most {LONGEST:.0f}, found {kind_of(value)}")
        return DEADLINE
    return float(value)


def _outside(doc: Document, said: Mapping[str, Any], at: Path, usual: str) -> Outside | None:
    address = doc.text(said[ADDRESS], (*at, ADDRESS))
    parts = _split(address)
    if not address or parts is None:
        doc.fault((*at, ADDRESS), f"expected an https URL, found {kind_of(said[ADDRESS])}")
        return None
    if wrong := _address_fault(parts):
        doc.fault((*at, ADDRESS), wrong)
    host = parts.hostname or ""
    translation = _one_of(doc, said, at, TRANSLATION, (APPEND, CONSTANT), usual)
    protocol = _one_of(doc, said, at, PROTOCOL, PROTOCOLS, PROTOCOLS[0])
    return Outside(
        host,
        parts.port or 443,
        parts.path.rstrip("/"),
        constant=translation == CONSTANT,
        http2=protocol == "h2",
        audience=_audience(doc, said, at, host),
    )


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname and not any(char.isspace() for char in address) else None


def _address_fault(parts: SplitResult) -> str:
    if parts.scheme != "https":
        return f"expected an https URL: over {parts.scheme} anybody on the way could read it, or answer in its place"
    if parts.username is not None or parts.query or parts.fragment:
        return "has a user, a query or a fragment, which no address of a back end has"
    if not _PATH.fullmatch(parts.path) or any(one in (".", "..") for one in parts.path.split("/")):
        return f"has no path of a URL: {parts.path!r}"
    return "expected a port from 1 on" if parts.port == 0 else host_fault(parts.hostname or "")


def host_fault(host: str) -> str:
    """What is wrong with calling a host, whoever allows it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if host in METADATA:
            return f"{host} gives credentials to this machine, and to nobody else"
        return "" if _NAME.fullmatch(host) else f"{host!r} is no name of a host"
    plain = getattr(address, "ipv4_mapped", None) or address
    if plain.is_link_local or plain.is_multicast or plain.is_unspecified:
        return f"{host} is an address of this machine's own surroundings, not a server's"
    return ""


def _audience(doc: Document, said: Mapping[str, Any], at: Path, host: str) -> str:
    """Whom ESPv2 makes its identity token out to: the address, unless the document says another, or none.

    A token goes to the address. One made out to somebody else could be used there, in the gateway's name.
    """
    if OPEN in said and AUDIENCE in said:
        doc.fault((*at, AUDIENCE), f"contradicts {OPEN}: say one of them")
    if not isinstance(said.get(OPEN, False), bool):
        doc.fault((*at, OPEN), f"expected true or false, found {kind_of(said[OPEN])}")
    if said.get(OPEN) is True:
        return ""
    audience = doc.text(said.get(AUDIENCE, said[ADDRESS]), (*at, AUDIENCE))
    parts = _split(audience)
    if audience and (parts is None or parts.hostname != host):
        doc.fault((*at, AUDIENCE), f"{audience!r} is another host than the address, and could be called with the token")
    return audience


def _one_of(doc: Document, said: Mapping[str, Any], at: Path, key: str, known: tuple[str, ...], usual: str) -> str:
    value = said.get(key, usual)
    if value in known:
        return str(value)
    doc.fault((*at, key), f"expected {' or '.join(known)}, found {kind_of(value)}")
    return usual
