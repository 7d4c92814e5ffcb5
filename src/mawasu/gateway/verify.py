"""One scheme asked of one request: met or not, and why, for people."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Sequence
from typing import Any

from mawasu.gateway import jwt, tokens
from mawasu.gateway.asked import Request, carried
from mawasu.gateway.authn import SKEW, grants_for, key_set
from mawasu.gateway.forms import KeyScheme, Place, Scheme, Served, TokenScheme
from mawasu.gateway.jwt import Jwt
from mawasu.gateway.schemes import OURS
from mawasu.words import PublicKey, Value


class Known(Value, frozen=True):
    """What else decides: the public halves that are kept, those whose time is over too, and now (since the epoch).

    `back_ends`: those outside that may be called (`outside.authority_of`).
    """

    keys: Sequence[PublicKey]
    now: float
    back_ends: tuple[str, ...] = ()


class Checked(Value, frozen=True):
    """`failure` is the verifier's, "" for what holds; `why` is for people, and of what is sent it tells claims alone.

    `critical`, `other`: it holds, and is refused all the same (`claims.py`). `who` is charged for the call. `unsure`
    says what was not looked up.
    """

    scheme: str
    kind: str  # key, token
    why: str
    failure: str = ""
    critical: bool = False
    other: bool = False
    who: str = ""
    unsure: str = ""
    met: bool = True


def check(request: Request, served: Served, scheme: Scheme, known: Known) -> Checked:
    """Whether a request meets a scheme of a site."""
    kind = "key" if isinstance(scheme, KeyScheme) else "token"
    found = [one for place in scheme.places for one in carried(request, place)]
    if not found:
        return _not(scheme, kind, jwt.MISSING, f"no {kind} in {_places(scheme.places)}")
    read = jwt.parse(found[0])
    if isinstance(scheme, KeyScheme):
        return _key(scheme, served, read, known)
    return _token(scheme, served, read, known)


def _not(scheme: Scheme, kind: str, failure: str, why: str) -> Checked:
    return Checked(scheme.name, kind, why, failure, met=False)


def _places(places: Sequence[Place]) -> str:
    named = (f"the {place.kind} {place.name}" + (f" ({place.prefix}…)" if place.prefix else "") for place in places)
    return " or ".join(named)


# ------------------------------------------------------------------------------------------------------ tokens


def _token(scheme: TokenScheme, served: Served, read: Jwt | str, known: Known) -> Checked:
    if isinstance(read, str):
        return _not(scheme, "token", read, _why_no_token(read))
    issuer = read.claims.get("iss", "")
    if issuer != scheme.issuer:
        return _not(scheme, "token", jwt.UNKNOWN_ISSUER, _why_issuer(issuer, scheme, served))
    if failure := jwt.fault_of_time(read, known.now, SKEW):
        return _not(scheme, "token", failure, _why_time(failure, read, known.now))
    if not set(read.audiences) & set(scheme.audiences):
        wanted = " or ".join(scheme.audiences)
        why = f"its audience is {', '.join(read.audiences) or 'nobody'}, wanted {wanted}"
        return _not(scheme, "token", jwt.BAD_AUDIENCE, why)
    if "exp" not in read.claims:
        return _not(scheme, "token", jwt.BAD_SIGNATURE, "it never expires (no exp), and must")
    if scheme.jwks and (failure := jwt.fault_of_signature(read, scheme.jwks)):
        return _not(scheme, "token", failure, _why_signature(failure, read))
    return _good_token(scheme, read, known)


def _good_token(scheme: TokenScheme, read: Jwt, known: Known) -> Checked:
    subject = read.claims.get("sub", "")
    if "crit" in read.header:
        why = "its header has crit, and no critical header is understood (RFC 7515, 4.1.11)"
        return Checked(scheme.name, "token", why, critical=True, met=False)
    why = (
        f"{subject or 'a caller without a name'}, by {scheme.issuer}, for {_span(read.claims['exp'] - known.now)} more"
    )
    unsure = "" if scheme.jwks else f"the signature of the token was not checked: its keys are at {scheme.jwks_uri}"
    return Checked(scheme.name, "token", why, who=f"{subject} of {scheme.issuer}", unsure=unsure)


def _why_no_token(failure: str) -> str:
    if failure == jwt.NOT_A_JWT:
        return "what is sent is no JWT: three parts with dots between (header.payload.signature)"
    return f"what is sent cannot be read: {failure.removeprefix('Jwt ')}"


def _why_issuer(issuer: str, scheme: TokenScheme, served: Served) -> str:
    if issuer == OURS:
        return "an API key of mawasu's is sent where a token belongs"
    said = f"its issuer is {issuer or 'not said'}, wanted {scheme.issuer}"
    others = {
        one.issuer: one.name
        for one in served.api.schemes.values()
        if isinstance(one, TokenScheme) and one.issuer != scheme.issuer
    }
    if issuer in others:
        return f"{said}; {others[issuer]} would take it, and is not asked for here"
    near = difflib.get_close_matches(issuer, [scheme.issuer, *others], 1, 0.8)
    return f"{said}: nearly the same, and not the same" if near else said


def _why_time(failure: str, read: Jwt, now: float) -> str:
    if failure == jwt.EXPIRED:
        return f"it expired {_span(now - read.claims['exp'])} ago ({_moment(read.claims['exp'])})"
    return f"it is valid only in {_span(read.claims['nbf'] - now)} ({_moment(read.claims['nbf'])})"


def _why_signature(failure: str, read: Jwt) -> str:
    kid, algorithm = read.header.get("kid", ""), read.header["alg"]
    if failure == jwt.NO_SUCH_KEY:
        named = f"kid {kid}" if kid else "no kid"
        return f"the issuer's key set has no key for it ({named}, {algorithm})"
    return "its signature is not the issuer's"


# ------------------------------------------------------------------------------------------------------ keys


def _key(scheme: KeyScheme, served: Served, read: Jwt | str, known: Known) -> Checked:
    if isinstance(read, str):
        return _not(scheme, "key", read, "what is sent is no API key of mawasu's")
    if read.claims.get("iss", "") != OURS:
        return _not(scheme, "key", jwt.UNKNOWN_ISSUER, "a token is sent where an API key belongs")
    name = read.header.get("kid", "")
    kept = {key.id: key for key in known.keys}.get(name)
    if failure := jwt.fault_of_time(read, known.now, SKEW):
        return _not(scheme, "key", failure, _why_time(failure, read, known.now))
    valid = [key for key in known.keys if tokens.valid(key, known.now)]
    if failure := jwt.fault_of_signature(read, key_set(valid)):
        return _not(scheme, "key", failure, _why_key(name, kept, known.now))
    assert kept is not None
    if not set(read.audiences) & set(grants_for(served.feature, served.environment)):
        why = f"key {name} of {kept.consumer} opens {', '.join(kept.grants)}, not {served.prefix[1:]}"
        return Checked(scheme.name, "key", why, other=True, met=False)
    return Checked(scheme.name, "key", f"key {name} of {kept.consumer}", who=f"the consumer {kept.consumer}")


def _why_key(name: str, kept: PublicKey | None, now: float) -> str:
    if kept is None:
        return f"there is no key {name or 'without a name'} here: it was revoked, or made elsewhere"
    if not tokens.valid(kept, now):
        assert kept.expires is not None
        over = "was replaced, and its grace ended" if kept.replaced else "expired"
        return f"key {name} of {kept.consumer} {over} {_span(now - kept.expires)} ago"
    return f"it names key {name} of {kept.consumer}, whose signature it does not have"


# ------------------------------------------------------------------------------------------------------ times


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _moment(at: Any) -> str:
    """Seconds since the epoch, which a token may say beyond any calendar."""
    try:
        return f"{datetime.datetime.fromtimestamp(at, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return f"second {at}"
