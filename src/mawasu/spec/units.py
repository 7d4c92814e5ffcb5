"""Text forms of times, memory, names, paths and bounds. Each reader raises `Refused` with what it expected."""

from __future__ import annotations

import re
from collections.abc import Callable

from mawasu.spec import globs
from mawasu.spec.faults import quoted

NAME = r"[a-z][a-z0-9-]{0,38}"
VARIABLE = r"[A-Z][A-Z0-9_]{0,99}"
DURATION = r"[0-9]{1,9}(\.[0-9]{1,3})?(s|m|h|d)"
REFRESH = rf"hourly|daily|weekly|{DURATION}"
MEMORY = r"[0-9]{1,6}(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti)"
HANDLER = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*"
BOUND = r"(>=|<=|>|<) *-?[0-9]{1,15}(\.[0-9]{1,15})?"

ACCELERATOR = r"none|[A-Z][A-Z0-9_]{1,60}(:[1-9][0-9]{0,2})?"
GCP_PROJECT = r"[a-z][a-z0-9-]{4,28}[a-z0-9]"
GCP_REGION = r"[a-z]+-[a-z]+[0-9]{1,2}"
GCP_BUCKET = r"[a-z0-9][a-z0-9_-]{1,44}[a-z0-9]"
GITHUB = r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}"
MACHINE = r"[a-z][a-z0-9]*(-[a-z0-9]+)+"
NETWORK = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
TOPOLOGY = r"[0-9]{1,3}x[0-9]{1,3}(x[0-9]{1,3})?"
HEADER = r"[A-Za-z][A-Za-z0-9-]{0,63}"
OUTSIDE = r"(file://)?/.*|gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/.*)?"
ORIGIN = r"\*|https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?"

_OFTEN = {"hourly": 3600.0, "daily": 86400.0, "weekly": 7 * 86400.0}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class Refused(ValueError):  # noqa: N818 — reads as what happened
    """A text is not what it should be: `expected` says what should stand there, `hint` what it was meant to be."""

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint


def duration(text: str) -> float:
    """Seconds of `30s`, `30m`, `1h`, `7d`; more than zero."""
    expected = "a time such as `30s`, `30m`, `1h` or `7d`"
    if not re.fullmatch(DURATION, text):
        number = re.match(r"[0-9]+", text)
        raise Refused(expected, f"write {quoted(number[0] + 's')} for seconds" if number and number[0] == text else "")
    seconds = float(text[:-1]) * _SECONDS[text[-1]]
    if seconds <= 0:
        raise Refused("a time longer than zero, such as `30s`")
    return seconds


def refresh(text: str) -> float:
    """Seconds of `hourly`, `daily`, `weekly`, or of a duration."""
    if text in _OFTEN:
        return _OFTEN[text]
    if not re.fullmatch(DURATION, text):
        raise Refused("`hourly`, `daily`, `weekly`, or a time such as `6h`")
    return duration(text)


def memory(text: str) -> int:
    """Bytes of `512Mi`, `4Gi` (powers of 1024, as Kubernetes writes them); more than zero."""
    expected = "a size such as `512Mi` or `4Gi`"
    if not re.fullmatch(MEMORY, text):
        near = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) *([KMGTkmgt])[iI]?[bB]?", text)
        raise Refused(expected, f"did you mean `{near[1]}{near[2].upper()}i`?" if near else "")
    size = int(float(text[:-2]) * _BYTES[text[-2:]])
    if size <= 0:
        raise Refused("a size larger than zero, such as `512Mi`")
    return size


def name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        near = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-0123456789")[:39].rstrip("-")
        raise Refused(
            "a name of at most 39 characters: a small letter, then small letters, digits and `-`",
            f"{quoted(near)} would do" if near else "",
        )
    return text


def environment_name(text: str) -> str:
    if text.startswith("preview-"):
        raise Refused("a name that does not start with `preview-`", "names of that form belong to previews of branches")
    return name(text)


def secret(text: str) -> str:
    if not re.fullmatch(VARIABLE, text):
        raise Refused("the name of a secret: capital letters, digits and `_`, such as `MAPS_TOKEN`")
    if text.startswith(("MAWASU_", "AIP_", "LD_")) or text in ("PORT", "PATH", "HOME", "PYTHONPATH"):
        raise Refused("another name: mawasu sets this variable itself")
    return text


def inside(text: str) -> str:
    """A path of a file or directory in the repository, from the feature's root."""
    if not text or not text.isprintable() or "\\" in text:
        raise Refused("a path with `/` between its parts")
    if text[0].isspace():
        raise Refused("a path that does not begin with a space")
    if text.startswith(("/", "~")):
        raise Refused("a path inside the feature's root, not an absolute one")
    parts = text.removesuffix("/").split("/")
    if ".." in parts:
        raise Refused("a path inside the feature's root, without `..`")
    if "." in parts or "" in parts:
        better = "/".join(part for part in parts if part not in ("", "."))
        raise Refused("a path without `.` and empty parts", f"write {quoted(better or '**')}")
    return text


def file_path(text: str) -> str:
    if inside(text).endswith("/"):
        raise Refused("the path of a file, not of a directory")
    return text


def path_glob(text: str) -> str:
    if reason := globs.wrong(inside(text)):
        raise Refused(*reason)
    return text


def branch_glob(text: str) -> str:
    if not text or text.startswith("/") or text.endswith("/") or not text.isprintable() or " " in text:
        raise Refused("a branch or a glob of branches, such as `main` or `release/*`")
    if reason := globs.wrong(text):
        raise Refused(*reason)
    return text


def lock(text: str) -> str:
    file = file_path(text).rpartition("/")[2]
    if file != "uv.lock" and not file.endswith(".txt"):
        own = "dockerfile" in file.lower()
        hint = f"write it as `dockerfile: {text}`" if own and text.isprintable() else "`uv lock` writes one"
        raise Refused("the path of a `uv.lock`, or of a requirements file with hashes (`….txt`)", hint)
    return text


def handler(text: str) -> str:
    if not re.fullmatch(HANDLER, text):
        near = re.fullmatch(r"([A-Za-z_][\w./]*?)(?:\.py)?[:.]([A-Za-z_]\w*)", text)
        hint = f"did you mean {quoted(near[1].replace('/', '.') + ':' + near[2])}?" if near else ""
        raise Refused("`package.module:function`", hint)
    return text


def outside(text: str) -> str:
    """Where data lies outside the repository: an absolute path, a `file://` URI (RFC 8089) of this machine, or
    `gs://BUCKET/PREFIX-OR-OBJECT`."""
    expected = "an absolute path, `file:///…`, or `gs://BUCKET/…`"
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    if scheme and scheme[1] not in ("file", "gs"):
        raise Refused(expected, f"not built yet: data from `{scheme[1]}://`")
    if scheme and scheme[1] == "gs":
        if not re.fullmatch(OUTSIDE, text) or not text.isprintable():
            raise Refused("`gs://BUCKET/PREFIX-OR-OBJECT`, without a pattern: a prefix takes all below it")
        return text
    if not text.removeprefix("file://").startswith("/") or not text.isprintable():
        raise Refused(expected, "`files:` names files of the repository")
    return text


def data_files(text: str) -> str:
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    if scheme:
        hint = (
            f"give a {scheme[1]}:// URI as `path:`"
            if scheme[1] in ("file", "gs")
            else f"not built yet: data from `{scheme[1]}://`"
        )
        raise Refused("a path or a glob inside the feature's root", hint)
    if text.startswith("/"):
        raise Refused("a path or a glob inside the feature's root", "data outside the repository is given as `path:`")
    return path_glob(text)


def bound(text: str) -> str:
    """`>= 0.55`, in one spelling."""
    if not re.fullmatch(BOUND, text.strip()):
        number = re.fullmatch(r"-?[0-9.]+", text.strip())
        raise Refused('a bound such as ">= 0.55"', f'did you mean ">= {text.strip()}"?' if number else "")
    operator = re.match(r"[<>]=?", text.strip())
    assert operator
    return f"{operator[0]} {text.strip()[operator.end() :].strip()}"


def some_text(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise Refused("text that is not empty")
    return text


def accelerator(text: str) -> tuple[str, int]:
    """Its name and how many: `NVIDIA_L4:2` is ("NVIDIA_L4", 2); `none` is ("", 0)."""
    if not re.fullmatch(ACCELERATOR, text):
        raise Refused("an accelerator such as `NVIDIA_L4`, `NVIDIA_L4:2` or `none`")
    name, _, count = text.partition(":")
    return ("", 0) if text == "none" else (name, int(count or 1))


def _like(pattern: str, expected: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise Refused(expected)
        return text

    return read


gcp_project = _like(GCP_PROJECT, "a project's id such as `acme-ml`: 6 to 30 small letters, digits and `-`")
gcp_region = _like(GCP_REGION, "a region such as `europe-west1`")
gcp_bucket = _like(GCP_BUCKET, "a bucket's name such as `acme-ml-mawasu`: 3 to 46 small letters, digits, `-` and `_`")
github = _like(GITHUB, "a repository such as `acme/resumes`")
machine = _like(MACHINE, "a machine type such as `n1-standard-8`")
network = _like(NETWORK, "the name of a VPC network such as `default`")
topology = _like(TOPOLOGY, "a topology such as `2x2` or `2x2x4`")
header = _like(HEADER, "the name of a header such as `Accept-Language`")
origin = _like(ORIGIN, "an origin such as `https://example.com`, or `*`")
