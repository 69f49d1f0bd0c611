"""Walks the schema: what may stand at a place, in words. Serves the error messages and the generated reference.

A `Slot` is one place in the schema, the type and the constraints together. Unions of sections are told apart by a tag
(`type`, or `method` for a run); None beside a type is written `T | None` and is transparent to the walk.
"""

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from configs.pipeline import Config
from configs.strict import Section

PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text"}
BOUNDS = {"gt": "> {}", "ge": ">= {}", "lt": "< {}", "le": "<= {}"}


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the schema. `members` has more than one entry for a union of sections."""

    members: tuple[Any, ...]  # types that may stand here, without None
    constraints: tuple[Any, ...]
    optional: bool  # None may stand here

    @property
    def sections(self) -> tuple[type[Section], ...]:
        """The section classes that may stand here; empty for plain values and lists."""
        return tuple(m for m in self.members if isinstance(m, type) and issubclass(m, Section))


def slot_of(annotation: Any, constraints: Sequence[Any] = ()) -> Slot:
    """The slot of a type annotation."""
    found = list(constraints)
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        found += more
    if get_origin(annotation) not in (Union, types.UnionType):
        return Slot((annotation,), tuple(found), False)
    members = get_args(annotation)
    kept = [m for m in members if m is not type(None)]
    if len(kept) == 1:
        inner = slot_of(kept[0], found)
        return Slot(inner.members, inner.constraints, True)
    return Slot(tuple(kept), tuple(found), len(kept) < len(members))


def field_slots(section: type[Section]) -> dict[str, Slot]:
    """The fields of a section, in the order written."""
    return {name: slot_of(info.annotation, info.metadata) for name, info in section.model_fields.items()}


def tag_of(section: type[Section]) -> tuple[str, str] | None:
    """The key and value that pick this class in its union, such as ("type", "adamw"); None outside unions."""
    for key in ("type", "method"):
        info = section.model_fields.get(key)
        if info and get_origin(info.annotation) is Literal and len(get_args(info.annotation)) == 1:
            return key, get_args(info.annotation)[0]
    return None


def tags(slot: Slot) -> list[str]:
    """The tags among which a union of sections is told apart; empty when there is no choice."""
    found = [tag_of(section) for section in slot.sections]
    return [tag[1] for tag in found if tag] if len(found) > 1 else []


def item_slot(slot: Slot, index: int) -> Slot | None:
    """The slot of a list's item; None when the slot is no list."""
    if get_origin(slot.members[0]) is not tuple:
        return None
    items = get_args(slot.members[0])
    return slot_of(items[0] if items[-1] is Ellipsis else items[min(index, len(items) - 1)])


def resolve(location: Sequence[str | int]) -> tuple[list[str | int], Slot | None]:
    """Turn pydantic's location, which holds union tags, into what the user wrote and the slot at its end.

    The slot is None past the schema's edge: an unknown key, or inside a free mapping.
    """
    path: list[str | int] = []
    slot: Slot | None = slot_of(Config)
    for part in location:
        if slot and part in tags(slot):
            chosen = next(s for s in slot.sections if (tag_of(s) or ("", ""))[1] == part)
            slot = slot_of(chosen)
            continue
        path.append(part)
        if slot is None:
            continue
        if isinstance(part, int):
            slot = item_slot(slot, part)
        else:
            slot = field_slots(slot.sections[0]).get(part) if slot.sections else None
    return path, slot


def keys_below(section: type[Section], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every (key, dotted path) under a section, lists left out; used to say where a misplaced key belongs."""
    for name, slot in field_slots(section).items():
        yield name, prefix + name
        for inner in slot.sections:
            yield from keys_below(inner, f"{prefix}{name}.")


def describe(slot: Slot) -> str:
    """What may stand at a slot, in words: `whole number > 0`, "one of `a`, `b`", `list of ...`."""
    first = slot.members[0]
    if choices := tags(slot):
        key = (tag_of(slot.sections[0]) or ("type", ""))[0]
        text = f"section with `{key}` one of " + ", ".join(f"`{choice}`" for choice in choices)
    elif slot.sections:
        text = "section"
    elif get_origin(first) is Literal:
        values = [f"`{value}`" for value in get_args(first)]
        text = values[0] if len(values) == 1 else "one of " + ", ".join(values)
    elif get_origin(first) is tuple:
        items = get_args(first)
        inner = describe(slot_of(items[0]))
        inner = inner.replace("section", "sections", 1) if slot_of(items[0]).sections else inner
        text = f"list of {inner}" if items[-1] is Ellipsis else f"list of {len(items)}: {inner} each"
    elif get_origin(first) is dict:
        text = "mapping"
    else:
        text = PLAIN.get(first, str(first))
    limits = list(_limits(slot.constraints))
    text = f"{text} {', '.join(limits)}" if limits else text
    return f"{text}, or null" if slot.optional else text


def _limits(constraints: Sequence[Any]) -> Iterator[str]:
    for constraint in constraints:
        for part in (constraint, *getattr(constraint, "metadata", ())):  # Field(gt=0) inside Annotated nests them
            for name, words in BOUNDS.items():
                if (bound := getattr(part, name, None)) is not None:
                    yield words.format(bound)
            if pattern := getattr(part, "pattern", None):
                yield f"like `{pattern}`"
            if least := getattr(part, "min_length", None):
                yield f"(at least {least})"
