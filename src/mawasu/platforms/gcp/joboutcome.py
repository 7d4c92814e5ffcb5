"""How a job that has ended is told: the result, one line, a hint. Pure.

Two witnesses: what `enter.py` wrote at its end (exact, if it came so far), and what Vertex AI says of the job.
"""

from __future__ import annotations

import math
import re
import signal
from typing import Any, Final

from mawasu.google.vertex import Seen, State, console
from mawasu.platforms.gcp.jobfiles import Told, step_of
from mawasu.platforms.gcp.machines import Chosen
from mawasu.platforms.gcp.names import Cloud
from mawasu.words import JobSpec, Outcome, Result

Fault = tuple[Result, str, str]

_DEADLINE, _EXHAUSTED, _UNAVAILABLE = 4, 8, 14  # google.rpc.Code
_MEMORY: Final = re.compile(r"out[ -]of[ -]memory|\bOOM|\b137\b", re.IGNORECASE)
_LATE: Final = re.compile(r"deadline|timed? ?out|max(imum)? (running|wall) ?time", re.IGNORECASE)
_NO_ROOM: Final = re.compile(r"quota|insufficient|stockout|resources? (are|is) (not|un)available", re.IGNORECASE)


def fault_of(job: JobSpec, cloud: Cloud, chosen: Chosen, seen: Seen, told: Told | None) -> Fault | None:
    """None if the job went well as far as the two know."""
    step = step_of(job)
    if seen.state is State.CANCELLED:
        hint = f"run it again if that was not meant: {console(cloud.project, seen.name)}"
        return Result.CANCELLED, f"{step}: the job was cancelled by somebody, not by mawasu", hint
    if told is not None and (told.end != "exit" or told.status != 0):
        return _by_command(job, chosen, told)
    if seen.state is State.SUCCEEDED:
        if told is not None:
            return None
        return Result.FAILED, f"{step}: the job ended well and left no outcome", "does the image have a python3 ≥ 3.9?"
    return _by_vertex(job, cloud, chosen, seen)


def _by_command(job: JobSpec, chosen: Chosen, told: Told) -> Fault:
    """The same words as on one machine of one's own."""
    step = step_of(job)
    if told.end == "timeout":
        return timed_out(job)
    if told.end == "memory":
        return _out_of_memory(job, chosen)
    if told.end == "refused":
        return Result.FAILED, _line(told.message), _line(told.hint)
    if told.end == "told":
        return Result.FAILED, f"{step}: its machine was taken away", "run it again; spot machines go at any time"
    name = signal_name(told.status)
    how = f"was killed by {name}" if name is not None else f"ended with status {told.status}"
    hint = "`mawasu logs` has all that it printed"
    if told.status in (126, 127):
        hint = "is the program in the lock, and the file in paths?"
    last = _line(told.last)
    return Result.FAILED, f"{step} {how}" + (f": {last}" if last else ""), hint


def _by_vertex(job: JobSpec, cloud: Cloud, chosen: Chosen, seen: Seen) -> Fault:
    step, said = step_of(job), _line(seen.error) or f"the job is {seen.state}, and Google does not say why"
    if seen.state is State.EXPIRED or seen.code == _DEADLINE or (seen.started and _LATE.search(seen.error)):
        return timed_out(job)
    if seen.started and _MEMORY.search(seen.error):
        return _out_of_memory(job, chosen)
    if seen.code in (_EXHAUSTED, _UNAVAILABLE) or _NO_ROOM.search(seen.error):
        return no_machine(job, cloud, chosen, said)
    return Result.FAILED, f"{step}: Vertex AI says: {said}", f"look at {console(cloud.project, seen.name)}"


def timed_out(job: JobSpec) -> Fault:
    limit = f"{job.resources.timeout:g} s"
    return Result.TIMED_OUT, f"{step_of(job)} was not done after {limit}", "give it a longer timeout, or less to do"


def _out_of_memory(job: JobSpec, chosen: Chosen) -> Fault:
    limit = f"{(chosen.memory or job.resources.memory) / 2**20:.0f} MiB"
    message = f"out of memory: {step_of(job)} needs more than its {limit} ({chosen.machine})"
    return Result.OUT_OF_MEMORY, message, "raise resources.memory, or read the data in parts"


def no_machine(job: JobSpec, cloud: Cloud, chosen: Chosen, said: str) -> Fault:
    """There was no machine to run on: none is free, or the project may not have as many."""
    message = f"{step_of(job)} got no {shown(chosen)} in {cloud.region}: {said}"
    quota = "custom_model_training_cpus" if not chosen.accelerator else f"custom_model_training_{_metric(chosen)}"
    hint = f"raise the quota aiplatform.googleapis.com/{quota} in {cloud.region}, or change gcp.training"
    return Result.FAILED, message, hint


def never_started(minutes: float) -> str:
    return f"it was not started within {minutes:g} min (no machine is free, or the project's quota is spent)"


def shown(chosen: Chosen) -> str:
    """A machine for people: `n1-standard-4 with 1 × NVIDIA_TESLA_T4`."""
    with_ = f" with {chosen.accelerators} × {chosen.accelerator}" if chosen.accelerator else ""
    topology = f" as {chosen.topology}" if chosen.topology else ""
    return chosen.machine + with_ + topology


def facts_of(job: JobSpec, cloud: Cloud, chosen: Chosen, seen: Seen, told: Told | None, found: bool) -> dict[str, Any]:
    """What is worth keeping of a job: JSON values."""
    facts: dict[str, Any] = {
        "job": seen.name,
        "console": console(cloud.project, seen.name),
        "machine": shown(chosen),
        "found_again": found,
        "threads": max(1, math.ceil(job.resources.cpu)),
    }
    if chosen.memory:
        facts["machine_memory"] = chosen.memory
    ended = seen.ended or seen.started or seen.created
    facts["seconds_queued"] = round(max(0.0, (seen.started or ended) - seen.created), 3)
    facts["seconds_running"] = round(max(0.0, ended - seen.started), 3) if seen.started else 0.0
    if told is not None:
        facts |= {"exit_status": told.status, "cpu_seconds": told.cpu_seconds, "blas": told.blas}
        facts["peak_memory"] = told.peak_memory
        if (name := signal_name(told.status)) is not None:
            facts["signal"] = name
    return facts


def outcome(fault: Fault, seconds: float, facts: dict[str, Any]) -> Outcome:
    result, message, hint = fault
    return Outcome(result, {}, seconds, message, hint, facts)


def signal_name(status: int) -> str | None:
    """The signal that a shell's status tells of (POSIX, 2.8.2: greater than 128)."""
    try:
        return signal.Signals(status - 128).name if status > 128 else None
    except ValueError:
        return None


def _metric(chosen: Chosen) -> str:
    """`nvidia_t4_gpus` of NVIDIA_TESLA_T4 (cloud.google.com/vertex-ai/docs/quotas)."""
    plain = chosen.accelerator.lower().replace("tesla_", "")
    return plain if plain.startswith("tpu") else f"{plain}_gpus"


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
