"""The reward service of runs that need no verdict: what a model knows, and what a teacher scores token by token."""

from data.records import Group, ScoredGroup, Verdict

UNGRADED = Verdict("ungraded", None, False)


class UngradedRewards:
    """Satisfies the RewardService port; answers at once."""

    async def score(self, group: Group) -> ScoredGroup:
        return ScoredGroup(group, (UNGRADED,) * len(group.completions), queue_s=0.0, reward_s=0.0)
