"""A perfect solver of column addition as the fleet: it goes on faithfully from what is written, and repairs nothing.

Solutions are those of the demo's task, `<think>6+6+0=12;7+3+1=11;6+2+1=09</think><answer>912</answer>`.
"""

import re
from typing import Any

import numpy as np

from data.records import Completion, Group, GroupRequest, ScoredGroup, Verdict
from data.vocabulary import build_tokenizer
from trainers.ports import RolloutFailed

TOKENIZER = build_tokenizer("characters")
EOS: Any = TOKENIZER.eos_token_id


def encode(text: str) -> np.ndarray:
    return np.array(TOKENIZER(text, add_special_tokens=False)["input_ids"], dtype=np.int32)


def go_on(prompt: str, written: str) -> str:
    """The rest of a solution, true to the columns that stand there, right or wrong."""
    a, b = re.fullmatch(r"(\d+)\+(\d+):", prompt).groups()  # type: ignore[union-attr]
    columns = re.findall(r"=(\d)(\d)(?=;|</think>)", written)
    totals = [f"{tens}{ones}" for tens, ones in columns]
    rest = ""
    for digit_a, digit_b in list(zip(reversed(a), reversed(b), strict=True))[len(totals) :]:
        carry = totals[-1][0] if totals else "0"
        totals.append(f"{int(digit_a) + int(digit_b) + int(carry):02d}")
        rest += f"{digit_a}+{digit_b}+{carry}={totals[-1]};"
    answer = int(totals[-1][0] + "".join(total[1] for total in reversed(totals)))
    thought = rest.removesuffix(";") + ("" if "</think>" in written else "</think>")
    return f"{'' if written else '<think>'}{thought}<answer>{answer}</answer>"


class PerfectSolver:
    """Fleet and rewards in one. `failing`: group ids that cannot be sampled; `unjudged`: that get no verdict."""

    def __init__(self) -> None:
        self.requests: list[GroupRequest] = []
        self.failing: set[int] = set()
        self.unjudged: set[int] = set()

    async def generate(self, request: GroupRequest) -> Group:
        self.requests.append(request)
        if request.group_id in self.failing:
            raise RolloutFailed("the worker died")
        prompt = request.prompt.text
        prefix = request.prompt.token_ids[1 + len(prompt) :]  # after <bos> and the problem, one token a character
        rest = go_on(prompt, str(TOKENIZER.decode(prefix.tolist())))
        ids = np.append(encode(rest), np.int32(EOS)).astype(np.int32)
        nothing = np.zeros(len(ids), dtype=np.int32)
        completion = Completion(ids, nothing.astype(np.float32), nothing, rest, "stop")
        return Group(request.group_id, request.prompt, (completion,) * request.group_size, "w", 0.0)

    async def score(self, group: Group) -> ScoredGroup:
        if group.group_id in self.unjudged:
            verdict = Verdict("infra_error", None, False, {}, "killed")
            return ScoredGroup(group, (verdict,) * len(group.completions), 0.0, 0.0)
        answers = [re.findall(r"<answer>(.*?)</answer>", c.text)[-1:] for c in group.completions]
        right = [answer == [group.prompt.reference["answer"]] for answer in answers]
        return ScoredGroup(group, tuple(Verdict("ok", float(r), r) for r in right), 0.0, 0.0)
