"""Journey learning (O1 Replication Journey, arXiv 2410.18982): traces that go wrong, notice, go back and get it right.

A journey is made of two samples of one problem, one wrong and one right, token by token: the wrong thought and a
transition are put in front of the right thought, so that what is wrong stands inside the thought alone and the answer
is the right sample's. The right sample alone is the shortcut beside it. A search tree gives a journey as well: the way
to its best leaf, with a detour into a wrong branch at each fork.

Legend: T tokens of a sample or of a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.records import Completion, Int32Array, ScoredGroup
from data.thinking import CLOSE, OPEN, ThoughtTags, thought_span


@dataclass(frozen=True, slots=True, eq=False)
class Journey:
    """Two responses to one prompt that end in the same answer."""

    journey: Int32Array  # [T] wrong thought, transition, right thought, answer
    shortcut: Int32Array  # [T] the right sample
    wrong_tokens: int  # of the journey, that the wrong thought has


def journeys_of(
    group: ScoredGroup, tags: ThoughtTags, transition: Int32Array, *, pairs: int, max_tokens: int
) -> list[Journey]:
    """Up to `pairs` journeys of a problem, each from a wrong and a right sample that no other one uses.

    Samples count when they have a verdict, ended by themselves, and hold exactly one thought with something in it. The
    same tokens twice are one sample. A journey is left out when it and its prompt have more than `max_tokens`.
    """
    prompt = group.group.prompt
    opened = prompt.text.rfind(OPEN) > prompt.text.rfind(CLOSE)
    wrong: dict[bytes, tuple[Completion, tuple[int, int]]] = {}
    right: dict[bytes, tuple[Completion, tuple[int, int]]] = {}
    for completion, verdict in zip(group.group.completions, group.verdicts, strict=True):
        span = _whole_thought(completion, tags, opened)
        if span is not None and verdict.outcome == "ok":
            (right if verdict.correct else wrong).setdefault(completion.token_ids.tobytes(), (completion, span))
    found: list[Journey] = []
    for (bad, (start, end)), (good, (begin, _)) in zip(wrong.values(), right.values(), strict=False):
        detour = bad.token_ids[start:end]
        tokens = np.concatenate([good.token_ids[:begin], detour, transition, good.token_ids[begin:]]).astype(np.int32)
        if len(prompt.token_ids) + len(tokens) <= max_tokens:
            found.append(Journey(tokens, good.token_ids, len(detour)))
    return found[:pairs]


def _whole_thought(completion: Completion, tags: ThoughtTags, opened: bool) -> tuple[int, int] | None:
    """(start, end) of the only thought of a sample that ended by itself; None without one."""
    if completion.finish_reason != "stop" or tags.open_id is None or tags.close_id is None:
        return None
    opens = int(np.count_nonzero(completion.token_ids == tags.open_id))
    if opens != (0 if opened else 1) or np.count_nonzero(completion.token_ids == tags.close_id) != 1:
        return None
    span = thought_span(completion, tags, opened=opened)
    return span if span is not None and span[1] > span[0] else None


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A step of a search tree. A node comes after its parent; a leaf is a whole solution."""

    parent: int | None  # index of the node that it goes on from; None for a first step
    text: str  # of the step, for people
    value: float  # of a leaf: its reward; of another node: what the search thinks of it, in [0, 1]


def tree_walk(nodes: Sequence[TreeNode], *, right: float = 1.0) -> list[int | None] | None:
    """The nodes of a journey through a tree, in order; None stands for the transition, where the walk turns back.

    The way goes to the leaf with the highest value (of equals the shortest way, then the first). At each fork on it the
    sibling that looked best, among those whose leaves are all below `right`, is gone down to a leaf first, always along
    the child with the highest value. None in place of a walk when no leaf has the value `right`.
    Raises ValueError for a node that does not come after its parent.
    """
    for index, node in enumerate(nodes):
        if node.parent is not None and not 0 <= node.parent < index:
            raise ValueError(f"node {index} has the parent {node.parent}; a parent is an earlier node, or None")
    children: dict[int | None, list[int]] = {}
    for index, node in enumerate(nodes):
        children.setdefault(node.parent, []).append(index)
    best = [node.value for node in nodes]  # of the leaves below each node
    for index in reversed(range(len(nodes))):
        if index in children:
            best[index] = max(best[child] for child in children[index])
    leaves = [index for index in range(len(nodes)) if index not in children and nodes[index].value >= right]
    if not leaves:
        return None
    goal = min(leaves, key=lambda leaf: (-nodes[leaf].value, len(_path(nodes, leaf)), leaf))
    walk: list[int | None] = []
    for step in _path(nodes, goal):
        wrong = [index for index in children[nodes[step].parent] if best[index] < right]
        if wrong:
            at: int | None = max(wrong, key=lambda index: nodes[index].value)
            while at is not None:
                walk.append(at)
                at = max(children[at], key=lambda index: nodes[index].value) if at in children else None
            walk.append(None)
        walk.append(step)
    return walk


def spell_walk(walk: Sequence[int | None], steps: Sequence[Int32Array], transition: Int32Array) -> Int32Array:
    """[T] tokens of a walk: `steps` are those of each node, encoded or as they were sampled."""
    parts = [transition if step is None else steps[step] for step in walk]
    return np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, dtype=np.int32)


def _path(nodes: Sequence[TreeNode], leaf: int) -> list[int]:
    """From a first step to the leaf."""
    path = [leaf]
    while (parent := nodes[path[-1]].parent) is not None:
        path.append(parent)
    return path[::-1]
