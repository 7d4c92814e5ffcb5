"""Deciding what a push needs: pure. `plan(...)` gives the steps in order, each with its key and why it runs or not."""

from mawasu.plan.known import Champion, Known, Reuse
from mawasu.plan.plan import plan
from mawasu.plan.steps import Gate, Plan, Step, StepKind

__all__ = ["Champion", "Gate", "Known", "Plan", "Reuse", "Step", "StepKind", "plan"]
