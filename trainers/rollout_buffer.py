"""Groups between admission and the optimizer step, and the slots that keep them from becoming too old.

A group takes a slot when it is admitted. It gives the slot back when it fails or is rejected, or when the step that
trains on it is *published*: not when it leaves for the learner. So the staleness bound follows from the structure.
Waiting is by events: whoever changes something calls `Changes.notify`, and nobody polls.

Example, prompts_per_step 2, max_staleness 1: four groups 0-3 are admitted at version 0; room is 0. Groups 0 and 2 are
scored and taken for step 0; room is still 0. When step 0 is published two more are admitted, at version 1.
"""

import asyncio
from collections.abc import Callable, Sequence

from algorithms.staleness import admission_room
from data.records import GroupRequest, ScoredGroup


class Changes:
    """Wakes coroutines that wait for a condition on shared state."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        """Something changed: every waiting condition is looked at again."""
        woken, self._waiting = self._waiting, []
        for waiter in woken:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds; at once, without a switch, when it holds already."""
        while not condition():
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter


class RolloutBuffer:
    """Holds admitted groups in three places: in flight, ready (scored), taken (chosen for a step not yet published).

    Steps count from 0. `hold_for_old`: a step does not start while a group in flight would be too old for the next one.
    """

    def __init__(
        self, changes: Changes, *, prompts_per_step: int, max_staleness: int, steps: int, hold_for_old: bool
    ) -> None:
        self._changes = changes
        self._prompts_per_step = prompts_per_step
        self._max_staleness = max_staleness
        self._steps = steps
        self._hold_for_old = hold_for_old
        self._in_flight: dict[int, tuple[GroupRequest, int]] = {}  # group_id -> request, steps published at admission
        self._ready: dict[int, ScoredGroup] = {}
        self._taken: dict[int, ScoredGroup] = {}
        self.steps_taken = 0  # steps whose groups have been chosen
        self.steps_published = 0  # steps done whose weights every rollout worker holds

    @property
    def in_flight(self) -> list[GroupRequest]:
        """Requests that are being sampled or scored, oldest first."""
        return [self._in_flight[group_id][0] for group_id in sorted(self._in_flight)]

    @property
    def buffered(self) -> list[ScoredGroup]:
        """Scored groups that no published step has trained on, oldest first."""
        return [group for _, group in sorted((self._ready | self._taken).items())]

    @property
    def ready(self) -> list[ScoredGroup]:
        """Scored groups that may be taken, oldest first."""
        return [group for _, group in sorted(self._ready.items())]

    @property
    def num_in_flight(self) -> int:
        """Groups being sampled or scored."""
        return len(self._in_flight)

    @property
    def num_buffered(self) -> int:
        """Groups scored and not yet trained."""
        return len(self._ready) + len(self._taken)

    @property
    def room(self) -> int:
        """Groups that may be admitted now.

        Counted in steps done, not in versions, and in slots, not in groups trained: a step that was skipped as
        non-finite, or that trained on fewer groups than it has slots, would otherwise shift the bound for ever. Since
        no step raises the version by more than one, a bound in steps is a bound in versions. Never more than what
        the remaining steps can train on.
        """
        taken_slots = (self.steps_taken - self.steps_published) * self._prompts_per_step
        held = len(self._in_flight) + len(self._ready) + taken_slots
        room = admission_room(
            version=self.steps_published,
            max_staleness=self._max_staleness,
            prompts_per_step=self._prompts_per_step,
            groups_trained=self.steps_published * self._prompts_per_step,
            groups_held=held,
        )
        return min(room, (self._steps - self.steps_published) * self._prompts_per_step - held)

    @property
    def has_batch(self) -> bool:
        """Whether the next step's groups can be taken."""
        if len(self._ready) < self._prompts_per_step:
            return False
        if not self._hold_for_old:
            return True
        # Left out of step s, a group trains at step s + 1 at the earliest, and has then aged s + 1 - admitted.
        too_old_next = self.steps_taken - self._max_staleness
        return all(admitted > too_old_next for _, admitted in self._in_flight.values())

    def admit(self, request: GroupRequest) -> None:
        """A request takes a slot."""
        if request.group_id in self._in_flight or request.group_id in self._ready or request.group_id in self._taken:
            raise RuntimeError(f"group {request.group_id} was admitted twice")
        self._in_flight[request.group_id] = (request, self.steps_published)

    def add(self, scored: ScoredGroup) -> None:
        """A group came back: in flight -> ready."""
        del self._in_flight[scored.group.group_id]
        self._ready[scored.group.group_id] = scored
        self._changes.notify()

    def release(self, group_id: int) -> None:
        """A group failed or was rejected; its slot is free for another."""
        if self._in_flight.pop(group_id, None) is None:
            del self._ready[group_id]
        self._changes.notify()

    def take(self) -> list[ScoredGroup]:
        """The `prompts_per_step` ready groups with the lowest ids: long answers come late, and then go first."""
        if not self.has_batch:
            raise RuntimeError(f"step {self.steps_taken} has {len(self._ready)} of {self._prompts_per_step} groups")
        chosen = sorted(self._ready)[: self._prompts_per_step]
        groups = [self._ready.pop(group_id) for group_id in chosen]
        self._taken.update(zip(chosen, groups, strict=True))
        self.steps_taken += 1
        return groups

    def publish_step(self, groups: Sequence[ScoredGroup]) -> None:
        """The step that took these groups is done and its weights are everywhere: their slots are free."""
        for scored in groups:
            del self._taken[scored.group.group_id]
        self.steps_published += 1
        self._changes.notify()

    def abandon(self) -> int:
        """Forget everything that is held; returns how many groups that were."""
        held = self.num_in_flight + self.num_buffered
        for place in (self._in_flight, self._ready, self._taken):
            place.clear()
        return held

    def restore(self, *, steps_done: int, ready: Sequence[ScoredGroup], in_flight: Sequence[GroupRequest]) -> None:
        """Continue after `steps_done` steps with these groups; requests in flight are sampled from the start."""
        self.steps_taken = self.steps_published = steps_done
        self._ready = {scored.group.group_id: scored for scored in ready}
        for request in in_flight:
            self.admit(request)
