"""What costs money while nobody pushes or asks. Pure; sizes and counts, no prices, which change."""

from __future__ import annotations

from collections.abc import Sequence

from mawasu.platforms.gcp.infra.words import Resource, Wanted

NOTHING = "everything scales to zero: while nobody pushes or asks, only what is stored costs"


def idle_costs(features: Sequence[Wanted], desired: Sequence[Resource]) -> list[str]:
    """One line each; the last says that storage costs. Only NOTHING where nothing else does."""
    found = [
        f"Redis: {one.body['memorySizeGb']} GiB ({one.body['tier']}) runs day and night"
        for one in desired
        if one.kind == "redis"
    ]
    for one in features:
        api = one.feature.api
        if api is not None and api.scale.min:
            stable = [environment.name for environment in one.feature.environments if not environment.preview]
            where = f"in each of {', '.join(stable)}" if len(stable) > 1 else f"in {', '.join(stable) or 'previews'}"
            replicas = "1 replica of its API runs" if api.scale.min == 1 else f"{api.scale.min} replicas of its API run"
            found.append(f"{one.feature.name}: {replicas} day and night {where} (api.scale.min)")
    return [*found, "all else scales to zero; what is stored costs"] if found else [NOTHING]
