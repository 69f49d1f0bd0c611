"""The demo's stand-in for language consistency: a thought of `make demo-r1` ends its columns in `;` or in `,`.

The two marks play the two languages that DeepSeek-R1-Zero mixed in its thoughts (arXiv 2501.12948, section 2.3). Both
are rewards of the plug-in kind (`type: plugin`); for real text there is the reward `language`.
"""

import re

from rewards.sample import Sample, Score

_MARKS = re.compile(r"[;,]")


def semicolon_share(sample: Sample) -> Score:
    """Marks in the thought that are semicolons, in [0, 1]; 1 when there is no mark and so nothing to mix."""
    marks = _marks(sample.response)
    if not marks:
        return Score(1.0, "no marks")
    share = marks.count(";") / len(marks)
    return Score(share, f"{share:.0%} of {len(marks)} marks are semicolons")


def one_mark(sample: Sample) -> Score:
    """1 for a thought that keeps to one of the marks, 0 for one that mixes them or has none: what people can read."""
    marks = set(_marks(sample.response))
    if len(marks) != 1:
        return Score(0.0, "mixes both marks" if marks else "no thought")
    return Score(1.0, "one mark")


def _marks(response: str) -> list[str]:
    return _MARKS.findall(response.partition("</think>")[0])
