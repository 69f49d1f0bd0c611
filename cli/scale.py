"""`rayzero scale RUN --rollouts N`: add or drain rollout workers of a run that is going on, from another terminal."""

from pathlib import Path

from cli.cluster import join_ray

ANSWER_TIMEOUT_S = 60.0


def scale(folder: Path, address: str, rollouts: int) -> str:
    """Ask the run's driver; returns its answer. Raises ValueError when it does not answer at the Ray address."""
    if rollouts < 1:
        raise ValueError(f"--rollouts is {rollouts}; a run needs at least 1")
    join_ray(address)
    import ray

    from actors.control import actor_name

    try:
        control = ray.get_actor(actor_name(folder), namespace="rayzero")
    except ValueError as error:
        raise ValueError(f"the run {folder.name} does not answer at {address}: it has ended, or is starting") from error
    return str(ray.get(control.ask.remote({"command": "scale", "rollouts": rollouts}), timeout=ANSWER_TIMEOUT_S))
