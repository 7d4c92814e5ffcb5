"""What Cloud Run accepts, checked before it is asked: its own answer comes late and names no line. Pure.

cloud.google.com/run/docs/configuring/services/{cpu,memory-limits,containers,healthchecks}, /run/quotas
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from mawasu.google.run import Container, Share, Template

MIB, GIB = 2**20, 2**30

SIZES: dict[int, tuple[int, int]] = {
    1: (512 * MIB, 4 * GIB),
    2: (512 * MIB, 8 * GIB),
    4: (2 * GIB, 16 * GIB),
    6: (4 * GIB, 24 * GIB),
    8: (4 * GIB, 32 * GIB),
}
"""Cores → least and most memory, of the second-generation execution environment."""

CORES, MEMORY = 8, 32 * GIB
"""Of all containers of an instance."""

STARTUP = 240
"""Seconds within which an instance must have started."""

_RESERVED = re.compile(r"PORT|K_SERVICE|K_REVISION|K_CONFIGURATION|X_GOOGLE_.*|CLOUD_RUN_.*")
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


def size(cpu: float, memory: int) -> tuple[str, str] | None:
    """The smallest size that has these cores and bytes, as Cloud Run writes it; None if there is none."""
    for cores, (least, most) in SIZES.items():
        if cores >= cpu and memory <= most:
            return str(cores), f"{math.ceil(max(memory, least) / MIB)}Mi"
    return None


def faults(template: Template) -> tuple[str, ...]:
    """Why Cloud Run would refuse a revision; () if it would not."""
    return tuple(_faults(template))


def _faults(template: Template) -> Iterator[str]:
    if not _LABEL.fullmatch(template.revision):
        yield f"{template.revision!r} is no name of a revision: at most 63 of a-z, 0-9 and -"
    ports = [one for one in template.containers if one.port]
    if len(ports) != 1:
        yield f"{len(ports)} containers take requests, and it must be exactly one"
    names = [one.name for one in template.containers]
    if len(set(names)) != len(names) or not all(map(_LABEL.fullmatch, names)):
        yield f"the containers' names {names} are not different names of a-z, 0-9 and -"
    volumes = {*template.files, *template.scratch}
    for one in template.containers:
        yield from (f"container {one.name}: {fault}" for fault in _container(one, volumes, template.concurrency))
    cores = sum(float(one.cpu) for one in template.containers)
    memory = sum(_bytes(one.memory) for one in template.containers)
    if cores > CORES or memory > MEMORY:
        have = f"{cores:g} cores and {memory / GIB:g} GiB"
        yield f"{have} together: an instance has at most {CORES} cores and {MEMORY // GIB} GiB"
    if not 1 <= template.concurrency <= 1000:
        yield f"concurrency {template.concurrency} is not from 1 to 1000"
    if not 1 <= template.timeout <= 3600:
        yield f"a timeout of {template.timeout} seconds is not from 1 to 3600"
    if template.most < 1:
        yield f"at most {template.most} instances: it must be 1 or more"
    if template.subnet and not template.network:
        yield "a subnet without its network"


def _container(one: Container, volumes: set[str], concurrency: int) -> Iterator[str]:
    cpu, memory = float(one.cpu), _bytes(one.memory)
    if cpu < 1 and concurrency > 1:
        yield f"less than one core ({one.cpu}) answers one request at a time, not {concurrency}"
    elif cpu not in SIZES:
        yield f"{one.cpu} cores are none of {', '.join(map(str, SIZES))}"
    elif not SIZES[int(cpu)][0] <= memory <= SIZES[int(cpu)][1]:
        least, most = SIZES[int(cpu)]
        yield f"{one.memory} with {one.cpu} cores: it must be {least // MIB}Mi to {most // GIB}Gi"
    if unknown := sorted(set(one.mounts) - volumes):
        yield f"there is no volume {', '.join(unknown)}"
    if reserved := sorted(name for name in (*one.environ, *one.secrets) if _RESERVED.fullmatch(name)):
        yield f"Cloud Run keeps the variable {', '.join(reserved)} to itself"
    if twice := sorted(set(one.environ) & set(one.secrets)):
        yield f"{', '.join(twice)} is a variable and a secret"
    if one.startup and one.startup.period * one.startup.failures > STARTUP:
        yield f"it may take {one.startup.period * one.startup.failures} seconds to start, more than {STARTUP}"
    if any(probe and probe.timeout > probe.period for probe in (one.startup, one.alive)):
        yield "a probe may take longer than its period"


def traffic_faults(shares: Sequence[Share]) -> tuple[str, ...]:
    """Why Cloud Run would refuse this traffic; () if it would not."""
    return tuple(_traffic_faults(shares))


def _traffic_faults(shares: Sequence[Share]) -> Iterator[str]:
    total = sum(one.percent for one in shares)
    if total != 100:
        yield f"the traffic's shares are {total} % together, not 100"
    if any(not 0 <= one.percent <= 100 for one in shares):
        yield "a share of the traffic is not from 0 to 100 %"
    tags = [one.tag for one in shares if one.tag]
    if twice := sorted({tag for tag in tags if tags.count(tag) > 1}):
        yield f"the tag {', '.join(twice)} stands for two revisions"
    if bad := [tag for tag in tags if not _LABEL.fullmatch(tag)]:
        yield f"{', '.join(bad)} is no tag: letters a-z, digits and -"


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)(Mi|Gi)", text)
    if match is None:
        raise ValueError(f"{text!r} is no size")
    return int(match[1]) * {"Mi": MIB, "Gi": GIB}[match[2]]
