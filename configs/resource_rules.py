"""Do these nodes hold the run? Pure: the caller says what nodes there are.

Every check is a necessary condition, not a schedule: what passes may still be held up by other jobs on the cluster.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from configs.derived import Demand, demanded_cpus, demanded_gpus, demands
from configs.errors import ConfigError
from configs.run import AnyRun, GrpoRun

Problems = Iterator[str]

_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"  # a label's value, as on Kubernetes
_KEY = re.compile(rf"(?:[a-zA-Z0-9.-]{{1,253}}/)?{_NAME}")
_SELECTOR = re.compile(rf"(?P<no>!?)(?:(?P<one>{_NAME})|in\((?P<some>{_NAME}(?:, ?{_NAME})*)\))")


@dataclass(frozen=True, slots=True)
class Node:
    """What one node offers to Ray."""

    cpus: float
    gpus: float
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def has(self, selectors: Mapping[str, str]) -> bool:
        """Whether every selector takes this node. `!value` takes a node without the label too, as Ray has it."""
        return all(_takes(selector, self.labels.get(key)) for key, selector in selectors.items())

    def holds(self, demand: Demand) -> int:
        """How many of the demand's processes fit, were they alone here."""
        if not self.has(demand.labels):
            return 0
        shares = ((self.cpus, demand.cpus), (self.gpus, demand.gpus))
        return int(min((there / each + 1e-6 for there, each in shares if each), default=demand.processes))


def node_labels_are_selectors(run: AnyRun) -> Problems:
    """Selectors of node labels are written as Ray reads them: `value`, `!value`, `in(a, b)`, `!in(a, b)`."""
    parts = {"learner": run.learner.node_labels}
    parts |= {"rollout": run.rollout.node_labels} if run.rollout else {}
    parts |= {"rewards": run.rewards.node_labels} if run.rewards else {}
    parts |= {"reference": run.reference.node_labels} if isinstance(run, GrpoRun) else {}
    for name, labels in parts.items():
        for key, selector in labels.items():
            if not _KEY.fullmatch(key):
                yield (
                    f"{name}.node_labels = {{{key}: {selector}}}: the key is no label name (letters, digits, `-_.`, "
                    "at most 63, perhaps after `domain/`); write it as `ray start --labels` has it"
                )
            elif not _SELECTOR.fullmatch(selector):
                yield (
                    f"{name}.node_labels.{key} = {selector}: Ray reads `value`, `!value`, `in(a, b)` and `!in(a, b)`, "
                    "of letters, digits and `-_.`; write one of these, in quotes when it begins with `!`"
                )


def shortfalls(run: AnyRun, nodes: Sequence[Node], *, joined: bool) -> list[str]:
    """What the nodes lack, one line each: in sum, or else part by part. Empty when they hold the run."""
    where = "the cluster" if joined else "this machine"
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    problems: list[str] = []
    for kind, needed, there in (("CPUs", demanded_cpus(run), cpus), ("GPUs", demanded_gpus(run), gpus)):
        if needed > there:
            counts = [(d, d.cpus if kind == "CPUs" else d.gpus) for d in demands(run)]
            parts = ", ".join(f"{d.part} {d.processes} x {each:g}" for d, each in counts if each)
            remedy = "raise cluster.cpus" if kind == "CPUs" and not joined else f"add {kind}"
            problems.append(
                f"{kind} = {needed:g}: {where} offers {there:g}, {needed - there:g} short ({parts}); "
                f"lower these, or {remedy}"
            )
    return problems or [problem for demand in demands(run) for problem in _misfit(demand, nodes, where)]


def check_resources(run: AnyRun, nodes: Sequence[Node], *, joined: bool = False) -> None:
    """Raises ConfigError with the shortfall and the demand of each part. `joined`: a cluster that runs already."""
    if problems := shortfalls(run, nodes, joined=joined):
        raise ConfigError("resources", problems)


def _misfit(demand: Demand, nodes: Sequence[Node], where: str) -> Problems:
    selectors = ", ".join(f"{key}: {value}" for key, value in demand.labels.items())
    if not any(node.has(demand.labels) for node in nodes):
        yield (
            f"{demand.part}.node_labels = {{{selectors}}}: no node of {where} has these labels, so nothing could be "
            "placed; start nodes with `ray start --labels`, or remove the key"
        )
        return
    room = sum(node.holds(demand) for node in nodes)
    if room < demand.processes:
        wanted = f"{demand.processes} x ({demand.cpus:g} CPUs, {demand.gpus:g} GPUs)"
        which = f"the nodes of {where}" + (f" with {selectors}" if selectors else "")
        yield (
            f"{demand.part} = {wanted}: each must fit on one node, and {which} hold {room} of them; "
            "lower the number or the size, or add nodes"
        )


def _takes(selector: str, value: str | None) -> bool:
    match = _SELECTOR.fullmatch(selector)
    if match is None:
        raise ValueError(f"{selector!r} is no selector of node labels; node_labels_are_selectors refuses it")
    named = [match["one"]] if match["one"] is not None else [name.strip() for name in match["some"].split(",")]
    return (value in named) != bool(match["no"])
