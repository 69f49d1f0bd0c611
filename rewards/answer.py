r"""Which answer counts: the last `\boxed{}`, then the last `<answer>`, then a final-answer phrase, then the end.

Nothing inside `<think>` counts, and a `<think>` that is never closed swallows the rest. Every scan is linear in the
response: the text is hostile and this runs in the caller's process.
"""

import re
from dataclasses import dataclass
from typing import Literal

TAIL_CHARACTERS = 2000  # phrases and closing answers are looked for in this much of the end
MAX_BOXES = 16
MAX_BOX_CHARACTERS = 5000  # more than any verifier accepts
_END_OF_TURN = ("<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>")
_BOX = re.compile(r"\\f?box(?:ed)?(?![A-Za-z])")
_BETWEEN_BOXES = re.compile(r"(?:[\s$,;.&]|\\quad|\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b|\\[()\[\], ])*")
_PHRASE = re.compile(
    r"(?i:\b(?:answers?|réponse|respuesta|antwort)\b|答案)\**\s*"
    r"(?:(?i:is|are|est|es|ist|would be|will be)\b|是|为|[:=：]|(?=\$|\\[\[(]))\s*[:：]?\**\s*\}?\s*"
    r"|^#### ",
    re.MULTILINE,
)
_FINAL = re.compile(r"(?i:\bfinal answer)\**\s*(?:(?i:is)\b|[:：])[\s:：*]*(?:(?i:the final answer is)\s*)?(?=\$|\\\()")
_SENTENCE_END = re.compile(
    r"[.。!](?=\s|\*|$)|\n|[,，]?\s+(?i:because|since|as|which|where|so|not|but|I hope)\b|(?<=[A-J])\s+non\b"
)
_MATH = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\$([^$\n]+)\$|\\\((.+?)\\\)", re.DOTALL)
_PROSE = re.compile(r"(?<![A-Za-z{\\])[A-Za-z]{3,} [A-Za-z]{3,}(?![^{}]*\})")
_JOINS_MATH = re.compile(r"\s*(?:[,;]|,?\s*\b(?:and|or)\b)\s*")
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.\\])(?:(?<![\w)])-)?[$€£¥]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?:/[0-9]+)?(?:\s?\\?%|\s(?:percent(?:age)?|pct)\b)?"
)
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|mathrm|mathbf)\s*\{([^{}]*)\}")
_LAST_VERB = re.compile(r"\b(?:is|are|equals|be)\s+")
_WORD = re.compile(r"\b(?:[Ii]t|[Ii]s|[Ss]o|[WwHh]e)\b|(?<!\\)(?<![A-Za-z\\{])[A-Za-zÀ-ÿ]{3,}|[一-鿿]")
_CHOICE_AT_START = re.compile(r"^\W*([A-J])(?:[.。:：)、]|(?=[^\sA-Za-z0-9'’_^+*/=-])|\W*$)")
# `A` and `I` are words as well when a small word follows.
_CHOICE_ALONE = re.compile(
    r"(?<![A-Za-z0-9'’_\\])([B-HJ]|[AI](?! (?!(?:and|or|is|was|because|since|as|must|seems)\b)[a-z]))(?![A-Za-z0-9'’_])"
)
_BEFORE_CHOICE = re.compile(r"(?:(?:the )?(?:option|choice|letter)\b|[(*$\\{\[ ]|text(?:bf)?\{)*", re.IGNORECASE)
_MORE_CHOICES = re.compile(
    r"[)\].*}$ ]*(?:(?:[,/;&|]|\\text ?\{|\b(?:and|or|to)\b|[ *$(){}\[\]])+)(?<=[^A-Za-z0-9.])[A-J](?![A-Za-z0-9'’_])"
    r"(?! (?!(?:and|or)\b)[a-z])"
)
_DENIAL = r"(?:\b(?:not|never|cannot|neither|nor|unlike)|n['’]t|\b(?:anything but|other than|rather than|instead of))"
_FILLER = (
    r"(?:be|is|equals?|to|the|an?|possibly|really|definitely|actually|correct|right|answer|going|necessarily|exactly|"
    r"simply|option|choice)"
)
_DENIED = re.compile(  # "not 5", "can't possibly be 5", "5 is wrong"
    rf"{_DENIAL}\s+(?:{_FILLER}\s+){{0,5}}[(*$]*(?:[-0-9.,]*[0-9]|[A-J]\b)[)*$]*(?:\s+(?:or|nor)\s+[(*$]*(?:[0-9.]+|[A-J]\b))?"
    r"|(?<![\w.,])(?:[0-9][0-9.,]*|[A-J])[)*$]*\s+(?:is|are|was|would be|seems)\s+(?:\w+\s+)?"
    r"(?:not|wrong|incorrect|impossible|false|invalid)\b"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The part of a response that is judged."""

    text: str
    source: Literal["boxed", "tag", "phrase", "closing"]


def last_tagged(response: str) -> str | None:
    """Content of the last closed `<answer>…</answer>`; None when there is none."""
    end = response.rfind("</answer>")
    start = response.rfind("<answer>", 0, max(end, 0))
    return response[start + len("<answer>") : end] if start >= 0 else None


def outside_thinking(response: str, thinking_open: bool = False) -> str:
    """The response without its `<think>` blocks and without what follows an end-of-turn mark.

    `thinking_open`: the prompt ends inside `<think>`. A `</think>` that closes nothing ends such a block as well.
    """
    if thinking_open or (
        "</think>" in response and (response.find("</think>") < response.find("<think>") or "<think>" not in response)
    ):
        response = "<think>" + response
    kept: list[str] = []
    position = 0
    while True:
        start = response.find("<think>", position)
        kept.append(response[position : start if start >= 0 else len(response)])
        end = response.find("</think>", start) if start >= 0 else -1
        if end < 0:
            break
        position = end + len("</think>")
    visible = "\n".join(kept)
    for mark in _END_OF_TURN:
        at = visible.find(mark)
        if at >= 0 and visible[:at].strip():
            visible = visible[:at]
    return visible


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{}`; boxes joined to it by no more than `,`, `and` or `or` belong to it."""
    marks = list(_BOX.finditer(text))[-MAX_BOXES:]
    contents: list[str] = []
    begin_of_later = -1
    for mark in reversed(marks):
        content, end = _braced(text, mark.end())
        if begin_of_later >= 0 and not _BETWEEN_BOXES.fullmatch(text[end:begin_of_later][:200]):
            break
        if not (begin_of_later >= 0 and end > begin_of_later):  # a box around a box adds nothing
            contents.append(content)
        begin_of_later = mark.start()
    if not contents:
        return None
    unique = list(dict.fromkeys(content.strip() for content in reversed(contents)))
    return ", ".join(unique)


def _braced(text: str, position: int) -> tuple[str, int]:
    """The balanced group after blanks at `position`, and where it ends; unclosed: up to the end of the line."""
    while position < len(text) and text[position] == " ":
        position += 1
    if position >= len(text) or text[position] != "{":
        return text[position : position + 1], position + 1
    depth = 0
    limit = min(len(text), position + MAX_BOX_CHARACTERS)
    for i in range(position, limit):
        if text[i] == "{" and text[i - 1] != "\\":
            depth += 1
        elif text[i] == "}" and text[i - 1] != "\\":
            depth -= 1
            if depth == 0:
                return text[position + 1 : i], i + 1
    line_end = text.find("\n", position, limit)
    end = line_end if line_end >= 0 else limit
    return text[position + 1 : end], end


def final_answer(response: str, *, choice: bool = False, thinking_open: bool = False) -> Answer | None:
    """The answer that counts, or None. `choice`: the reference is a letter, so prose is searched for one."""
    visible = outside_thinking(response, thinking_open)
    boxed = last_boxed(visible)
    if boxed is not None:
        if (final := _final_after_boxes(visible)) is not None:
            return Answer(final, "phrase")
        return Answer(boxed, "boxed") if boxed.strip() else None
    tagged = last_tagged(visible)
    if tagged is not None:
        said = _from_phrase(tagged[-TAIL_CHARACTERS:].strip(), choice)
        text = said.text if said else _bare(tagged)
        return Answer(text, "tag") if text else None
    tail = visible[-TAIL_CHARACTERS:].strip()
    if not tail:
        return None
    return _from_phrase(tail, choice) or _from_closing(tail, choice)


def _final_after_boxes(visible: str) -> str | None:
    """The formula of "the final answer is $5$" when it comes after the last box: the boxes held steps."""
    rest = visible[max(mark.end() for mark in _BOX.finditer(visible)) :][-TAIL_CHARACTERS:]
    finals = list(_FINAL.finditer(rest))
    return _math_run(rest[finals[-1].end() :], at_start=True) if finals else None


def _bare(text: str) -> str:
    """Without the marks of bold and code around, and without a leading equals sign."""
    return text.strip().strip("*`").strip().removeprefix("=").lstrip()


def choice_letter(text: str) -> str | None:
    """The letter of a choice such as `B`, `(B)`, `B. Paris`; None when the text does not start with one."""
    text = _TEXT.sub(r"\1", text)
    match = _CHOICE_AT_START.match(text)
    return match.group(1) if match and not _MORE_CHOICES.match(text[: match.end(1) + 50], match.end(1)) else None


def _from_phrase(tail: str, choice: bool) -> Answer | None:
    for match in reversed(list(_PHRASE.finditer(tail))):
        rest = tail[match.end() :]
        if choice and (letter := _CHOICE_ALONE.match(rest, _end_of(_BEFORE_CHOICE, rest))):
            hedge = _MORE_CHOICES.match(rest, letter.end())
            return Answer(rest[letter.start() : hedge.end()] if hedge else letter.group(1), "phrase")
        run = _math_run(rest, at_start=True)
        if run is not None:
            return Answer(run, "phrase")
        end = _SENTENCE_END.search(rest)
        segment = (rest[: end.start()] if end else rest).strip(" *")
        if not segment:
            continue
        verbs = list(_LAST_VERB.finditer(segment))
        if verbs:
            segment = segment[verbs[-1].end() :]
        if _WORD.search(segment) and (run := _math_run(segment, at_start=False)) is not None:
            segment = run
        return Answer(segment, "phrase")
    return None


def _end_of(pattern: re.Pattern[str], text: str) -> int:
    match = pattern.match(text)
    return match.end() if match else 0


def _from_closing(tail: str, choice: bool) -> Answer | None:
    if choice:
        if letter := choice_letter(tail):
            return Answer(letter, "closing")
        tail = _DENIED.sub(" ", tail)
        letters = list(_CHOICE_ALONE.finditer(tail))
        if letters:
            hedged = any(_MORE_CHOICES.match(tail, letter.end()) for letter in letters[-2:])
            return Answer(tail if hedged else letters[-1].group(1), "closing")
    tail = _DENIED.sub(" ", tail)
    if not _WORD.search(_MATH.sub("", tail)) and "\n" not in tail.strip():
        return Answer(_bare(tail), "closing")
    run_end = max((m.end() for m in _math(tail)), default=-1)
    numbers = list(_NUMBER.finditer(tail))
    if numbers and numbers[-1].end() > run_end:
        return Answer(numbers[-1].group(), "closing")
    run = _math_run(tail, at_start=False)
    return Answer(run if run is not None else tail, "closing")


def _math(text: str) -> list[re.Match[str]]:
    """Delimited mathematics; two dollar signs around prose are prices."""
    return [match for match in _MATH.finditer(text) if not _PROSE.search(match.group())]


def _math_run(text: str, at_start: bool) -> str | None:
    """Joined contents of adjacent math such as `$1$ and $2$`: the first run when it starts the text, or the last."""
    runs: list[list[re.Match[str]]] = []
    for match in _math(text):
        if runs and _JOINS_MATH.fullmatch(text[runs[-1][-1].end() : match.start()]):
            runs[-1].append(match)
        else:
            runs.append([match])
    if not runs or (at_start and runs[0][0].start() > 0):
        return None
    run = runs[0] if at_start else runs[-1]
    tail = re.match(r"\s*\\?%", text[run[-1].end() :])
    joined = ", ".join(next(g for g in match.groups() if g is not None) for match in run)
    return joined + "%" if tail else joined
