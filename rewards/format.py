"""The template of DeepSeek-R1 (arXiv 2501.12948): one `<think>…</think>`, then one `<answer>…</answer>`, nothing else.

Only white space may stand before, between and after; each of the four tags occurs exactly once. What stands inside
is free, and may be empty. The count of tags is a softer score for a policy that never keeps the whole template.
"""

from typing import Literal

from rewards.sample import Sample, Score

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def think_answer_format(sample: Sample, prefix: str = "", variant: Literal["strict", "tag_count"] = "strict") -> Score:
    """Whether `prefix` plus the response keeps the template; `prefix` is template text that the prompt ends with.

    `strict`: 1 or 0. `tag_count`: 1/4 for each of the four tags that occurs exactly once, wherever it stands.
    """
    text = (prefix + sample.response).strip()
    counts = [text.count(tag) for tag in _TAGS]
    if variant == "tag_count":
        once = sum(count == 1 for count in counts)
        return Score(once / len(_TAGS), f"{once} of {len(_TAGS)} tags occur once")
    for tag, count in zip(_TAGS, counts, strict=True):
        if count != 1:
            return Score(0.0, f"{tag} occurs {count} times")
    starts = [text.find(tag) for tag in _TAGS]
    if starts != sorted(starts):
        return Score(0.0, "tags out of order")
    if starts[0] != 0 or not text.endswith("</answer>"):
        return Score(0.0, "text outside the tags")
    if text[starts[1] + len("</think>") : starts[2]].strip():
        return Score(0.0, "text between the tags")
    return Score(1.0, "template kept")
