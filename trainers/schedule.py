"""The learning rate over a stage, as a share of the optimizer's peak. Pure; the learner multiplies it in."""

import math

from configs.prompts import Schedule


def learning_rate_share(schedule: Schedule, step: int, steps: int) -> float:
    """Share of the peak learning rate at `step` (from 0) of a stage of `steps` optimizer steps.

    Warm-up: (step + 1) / (warmup_steps + 1), so that no step is wasted on a rate of zero and the first step after the
    warm-up is at the peak. Then constant, or from 1 down to `final_share`, which is reached at the last step.
    """
    if not 0 <= step < steps:
        raise ValueError(f"step {step} is outside a stage of {steps} steps; steps count from 0")
    if step < schedule.warmup_steps:
        return (step + 1) / (schedule.warmup_steps + 1)
    if schedule.type == "constant":
        return 1.0
    decay_steps = max(steps - 1 - schedule.warmup_steps, 1)
    progress = (step - schedule.warmup_steps) / decay_steps
    height = 1.0 - progress if schedule.type == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return schedule.final_share + (1.0 - schedule.final_share) * height
