"""The two bounds on staleness: which tokens may train, and how many groups may be admitted.

Staleness of a token is the learner's version minus the version of the weights that sampled it.

Shapes: T tokens of a completion.
"""

import numpy as np
from numpy.typing import NDArray


def fresh_mask(versions_T: NDArray[np.integer], learner_version: int, max_staleness: int) -> NDArray[np.bool_]:
    """[T] True where a token is at most `max_staleness` versions older than the learner.

    A token newer than the learner (sampled before the learner went back to a checkpoint) is fresh: it is not old, and
    the off-policy correction weighs it.
    """
    return learner_version - versions_T <= max_staleness


def admission_room(
    *, version: int, max_staleness: int, prompts_per_step: int, groups_trained: int, groups_held: int
) -> int:
    """How many groups may be admitted now; never negative.

    `groups_held` (in flight + buffered) may reach (max_staleness + version + 1) * prompts_per_step - groups_trained
    (AReaL, arXiv 2505.24298). So when every step trains `prompts_per_step` groups, oldest first, a group that is
    admitted at version v trains at version v + max_staleness or sooner.
    """
    return max(0, (max_staleness + version + 1) * prompts_per_step - groups_trained - groups_held)
