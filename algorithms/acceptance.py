"""Which sampled rationales are trained on (STaR, Zelikman et al. 2022, arXiv 2203.14465): those whose answer is right.

Right means that the first reward part gave full score: STaR looks at the answer and not at the way to it, so a wrong
way to a right answer is accepted. Of the right ones, exact repetitions are dropped and at most a cap are kept (as in
RFT, arXiv 2308.01825, and ReST-EM, arXiv 2312.06585). Rejection sampling chooses its rows in the same way, or keeps
whatever has an end. Pure.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from data.rationales import Fate, Rationale
from data.records import Completion, Prompt, ScoredGroup, Verdict


def accept(
    problem: Prompt,
    scored: ScoredGroup,
    *,
    hinted: bool,
    cap: int,
    shortest: int = 0,
    keep: Literal["correct", "all"] = "correct",
    require: Mapping[str, float] = MappingProxyType({}),
) -> tuple[Rationale, ...]:
    """The fate of each completion of a group, in order of sample.

    `problem`: the prompt without hint, which a hinted group was not sampled from. `cap`: most completions with the
    fate `trained`. `shortest`: right ones with fewer tokens are `too_short`. `keep`: `all` asks for no verdict.
    `require`: least scores of reward parts; right ones with less are `unfit`.
    """
    seen: set[bytes] = set()
    judged: list[Rationale] = []
    for sample, (completion, verdict) in enumerate(zip(scored.group.completions, scored.verdicts, strict=True)):
        fate = _fate(completion, verdict, shortest, keep)
        if fate == "trained" and any(verdict.parts.get(part, 0.0) < least for part, least in require.items()):
            fate = "unfit"
        if fate == "trained":
            key = completion.token_ids.tobytes()
            fate = "duplicate" if key in seen else "over_cap" if len(seen) >= cap else "trained"
            if fate == "trained":
                seen.add(key)
        judged.append(Rationale(problem, completion, verdict, hinted, scored.group.group_id, sample, fate))
    return tuple(judged)


def needs_hint(sampled: tuple[Rationale, ...]) -> bool:
    """Whether a problem is asked again with its answer shown: none of its samples is trained, and at least one failed.

    Without any verdict nobody knows whether the policy can solve it, and a hint would hide that.
    """
    fates = {rationale.fate for rationale in sampled}
    return "trained" not in fates and fates != {"no_verdict"}


def _fate(completion: Completion, verdict: Verdict, shortest: int, keep: Literal["correct", "all"]) -> Fate:
    if keep == "correct" and verdict.score is None:
        return "no_verdict"
    if keep == "correct" and not verdict.correct:
        return "wrong"
    if completion.finish_reason == "length" or not len(completion.token_ids):
        return "cut"  # it has no end, and training on it would teach not to end
    return "too_short" if len(completion.token_ids) < shortest else "trained"
