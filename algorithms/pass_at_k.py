"""Held-out accuracy: pass@k, and confidence intervals of a share.

Shapes: P problems.
"""

from collections.abc import Sequence
from math import comb, sqrt

Z_95 = 1.959963984540054  # the normal distribution has 95 % of its mass within so many deviations


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Chance that at least one of k samples of a problem is right, from `correct` right ones of `samples`.

    1 - C(samples - correct, k) / C(samples, k): unbiased (Chen et al., arXiv 2107.03374). Raises ValueError unless
    0 <= correct <= samples and 1 <= k <= samples.
    """
    if not 0 <= correct <= samples:
        raise ValueError(f"{correct} correct of {samples} samples is impossible")
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples (and k at least 1), there are {samples}")
    return 1 - comb(samples - correct, k) / comb(samples, k)


def wilson_interval(successes: float, trials: float) -> tuple[float, float]:
    """95 % interval (low, high) of a share from independent trials (Wilson 1927). (0, 1) without trials.

    Stays within [0, 1] and keeps its width when all or none succeed. Raises ValueError unless
    0 <= successes <= trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials is impossible")
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    squared = Z_95 * Z_95 / trials
    centre = (share + squared / 2) / (1 + squared)
    half = sqrt(squared * (share * (1 - share) + squared / 4)) / (1 + squared)
    # Rounding must not leave the exact ends out.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == trials else centre + half)


def clustered_interval(successes_P: Sequence[int], trials_P: Sequence[int]) -> tuple[float, float]:
    """95 % interval (low, high) of the share over all samples, when each problem has several.

    Samples of one problem resemble each other and count for less than independent ones: Wilson's interval with the
    trials divided by the design effect, which is the variance of the share between problems over that of independent
    trials, and at least 1 (Kish 1965). With one sample per problem it is `wilson_interval`.
    """
    successes, trials = sum(successes_P), sum(trials_P)
    if successes in (0, trials):
        # No variance to learn from: count problems, as if each had been tried once.
        problems = sum(count > 0 for count in trials_P)
        return wilson_interval(problems if successes else 0, problems)
    share = successes / trials
    between = sum((s - share * t) ** 2 for s, t in zip(successes_P, trials_P, strict=True)) / trials**2
    design_effect = max(1.0, between / (share * (1 - share) / trials))
    return wilson_interval(successes / design_effect, trials / design_effect)
