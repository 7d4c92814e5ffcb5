"""Which machine of Vertex AI a job gets: the smallest one that holds what `resources:` asks for. Pure.

Source: cloud.google.com/vertex-ai/docs/training/configure-compute (machine types and accelerators of custom training);
sizes from cloud.google.com/compute/docs/machine-resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from mawasu.errors import StepError
from mawasu.words import Resources, Value

GIB: Final = 2**30


class Machine(Value, frozen=True):
    """A machine type: cores, memory in bytes, and the accelerators that it has built in ("" and 0: none)."""

    name: str
    cpu: int
    memory: int
    accelerator: str = ""
    accelerators: int = 0


class Chosen(Value, frozen=True):
    """What a machine specification says. `accelerator` is "" where the type alone tells it (TPUs from v5e on)."""

    machine: str
    memory: int = 0  # bytes; 0: not known here
    accelerator: str = ""
    accelerators: int = 0
    topology: str = ""


def _family(name: str, sizes: Iterable[int], gib: float) -> list[Machine]:
    return [Machine(f"{name}-{cpu}", cpu, int(cpu * gib * GIB)) for cpu in sizes]


# In the order of what the same size costs: the first that is large enough and has the fewest cores is taken.
PLAIN: Final = (
    *_family("e2-standard", (4, 8, 16, 32), 4),
    *_family("e2-highmem", (2, 4, 8, 16), 8),
    *_family("n1-standard", (4, 8, 16, 32, 64, 96), 3.75),
    *_family("n1-highmem", (2, 4, 8, 16, 32, 64, 96), 6.5),
    *_family("n2-standard", (4, 8, 16, 32, 48, 64, 80), 4),
    *_family("n2-highmem", (2, 4, 8, 16, 32, 48, 64, 80), 8),
)


def _with(kind: str, name: str, sizes: Mapping[str, tuple[int, int, float]]) -> list[Machine]:
    return [Machine(f"{name}-{end}", cpu, int(gib * GIB), kind, count) for end, (count, cpu, gib) in sizes.items()]


_L4 = {4: (1, 16), 8: (1, 32), 12: (1, 48), 16: (1, 64), 24: (2, 96), 32: (1, 128), 48: (4, 192), 96: (8, 384)}

BUILT_IN: Final = (
    *_with("NVIDIA_L4", "g2-standard", {str(cpu): (count, cpu, gib) for cpu, (count, gib) in _L4.items()}),
    *_with("NVIDIA_TESLA_A100", "a2-highgpu", {f"{n}g": (n, 12 * n, 85 * n) for n in (1, 2, 4, 8)}),
    *_with("NVIDIA_TESLA_A100", "a2-megagpu", {"16g": (16, 96, 1360)}),
    *_with("NVIDIA_A100_80GB", "a2-ultragpu", {f"{n}g": (n, 12 * n, 170 * n) for n in (1, 2, 4, 8)}),
    *_with("NVIDIA_H100_80GB", "a3-highgpu", {f"{n}g": (n, 26 * n, 234 * n) for n in (1, 2, 4, 8)}),
    *_with("NVIDIA_H100_MEGA_80GB", "a3-megagpu", {"8g": (8, 208, 1872)}),
    *_with("NVIDIA_H200_141GB", "a3-ultragpu", {"8g": (8, 224, 2952)}),
    *_with("NVIDIA_B200", "a4-highgpu", {"8g": (8, 224, 3968)}),
)

# Graphics processors that are attached to machines of N1: how many, and the cores that so many may have at most
# (cloud.google.com/compute/docs/gpus#n1-gpus, per zone; where zones differ the smaller number).
ATTACHED: Final[Mapping[str, Mapping[int, int]]] = {
    "NVIDIA_TESLA_T4": {1: 48, 2: 48, 4: 96},
    "NVIDIA_TESLA_P4": {1: 24, 2: 48, 4: 96},
    "NVIDIA_TESLA_P100": {1: 16, 2: 32, 4: 64},
    "NVIDIA_TESLA_V100": {1: 12, 2: 24, 4: 48, 8: 96},
}

# TPUs: v2 and v3 are told by type and count of cores, later ones by the machine type and a topology
# (cloud.google.com/vertex-ai/docs/training/training-with-tpu-vm).
TPU_CORES: Final[Mapping[str, frozenset[int]]] = {
    "TPU_V2": frozenset({8, 32, 128, 256, 512}),
    "TPU_V3": frozenset({8, 32, 128, 256}),
}
TPU_CHIPS: Final = frozenset({1, 4, 8})


def choose(resources: Resources, machine: str = "", topology: str = "") -> Chosen:
    """The machine for `resources`; a `machine` of the user's own is taken as it is.

    Raises StepError for what no machine has, and for a count that the accelerator does not come in.
    """
    kind, count = resources.accelerator, resources.accelerators or (1 if resources.accelerator else 0)
    if kind.startswith("TPU_"):
        return _tpu(kind, count, machine, topology)
    if topology:
        raise StepError("gcp.training.tpu_topology is of TPUs only", "say resources.accelerator: TPU_V5_LITEPOD")
    if not kind:
        return _given(machine) if machine else _plain(PLAIN, resources)
    counts = sorted(_counts(kind))
    if not counts:
        raise StepError(f"Vertex AI trains on no {kind}", f"it has {', '.join(known())}")
    if count not in counts:
        raise StepError(f"{kind} does not come in {count}", f"ask for {_or(counts)} of each machine")
    if machine:
        return _checked(machine, kind, count)
    if kind in ATTACHED:
        fitting = [one for one in PLAIN if one.name.startswith("n1-") and one.cpu <= ATTACHED[kind][count]]
    else:
        fitting = [one for one in BUILT_IN if (one.accelerator, one.accelerators) == (kind, count)]
    found = _plain(fitting, resources)
    return Chosen(found.machine, found.memory, kind, count)


def without_accelerator(resources: Resources) -> Chosen:
    """For parameter servers, which compute nothing: the same cores and memory."""
    return _plain(PLAIN, resources)


def known() -> list[str]:
    """Every accelerator there is a machine for, by Vertex AI's name."""
    return sorted({one.accelerator for one in BUILT_IN} | ATTACHED.keys() | TPU_CORES.keys() | {"TPU_V5_LITEPOD"})


def _plain(machines: Iterable[Machine], resources: Resources) -> Chosen:
    machines = list(machines)
    enough = [one for one in machines if one.cpu >= resources.cpu and one.memory >= resources.memory]
    if not enough:
        most = max(machines, key=lambda one: (one.cpu, one.memory))
        wanted = f"{resources.cpu:g} cores and {resources.memory / GIB:g} GiB"
        on = f" with {resources.accelerators} × {resources.accelerator}" if resources.accelerator else ""
        hint = f"ask for less ({most.name} has {most.cpu} cores), or name one by gcp.training.machine"
        raise StepError(f"no standard machine of Vertex AI has {wanted}{on}", hint)
    found = min(enough, key=lambda one: one.cpu)  # the first of equals: the cheapest family
    return Chosen(found.name, found.memory)


def _given(machine: str) -> Chosen:
    for one in (*PLAIN, *BUILT_IN):
        if one.name == machine:
            return Chosen(machine, one.memory, one.accelerator, one.accelerators)
    return Chosen(machine)


def _checked(machine: str, kind: str, count: int) -> Chosen:
    """A machine that the user names, with an accelerator: they must go together, or Vertex AI says no, later."""
    given = _given(machine)
    fits = machine.startswith("n1-") if kind in ATTACHED else given.accelerator in ("", kind)
    same = given.accelerators in (0, count)
    if not fits or not same or (kind not in ATTACHED and machine.startswith(("n1-", "n2-", "e2-"))):
        hint = "leave gcp.training.machine out: the one that fits is taken"
        raise StepError(f"{machine} does not come with {count} × {kind}", hint)
    return Chosen(machine, given.memory, kind, count)


def _tpu(kind: str, count: int, machine: str, topology: str) -> Chosen:
    if kind in TPU_CORES:
        if count not in TPU_CORES[kind]:
            raise StepError(f"{kind} does not come in {count}", f"ask for {_or(sorted(TPU_CORES[kind]))} cores")
        return Chosen(machine or "cloud-tpu", 0, kind, count)
    if kind != "TPU_V5_LITEPOD" and not machine:
        raise StepError(
            f"Vertex AI trains on no {kind}", f"it has {', '.join(known())}, or name a gcp.training.machine"
        )
    if not topology:
        hint = "for one chip `1x1`, for four `2x2`, for eight `2x4`"
        raise StepError(f"{kind} needs a topology: gcp.training.tpu_topology", hint)
    if not machine and count not in TPU_CHIPS:
        raise StepError(f"a machine has no {count} chips of {kind}", f"ask for {_or(sorted(TPU_CHIPS))}")
    return Chosen(machine or f"ct5lp-hightpu-{count}t", topology=topology)


def _counts(kind: str) -> set[int]:
    return set(ATTACHED.get(kind, ())) or {one.accelerators for one in BUILT_IN if one.accelerator == kind}


def _or(numbers: Iterable[int]) -> str:
    *most, last = [str(number) for number in numbers]
    return f"{', '.join(most)} or {last}" if most else last
