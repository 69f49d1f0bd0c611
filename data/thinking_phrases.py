"""Phrases with which a text checks itself or turns back, by language: what `thinking/*` counts.

Contract: `count_phrases` matches whole words, whatever their case (Chinese has no spaces, so there a phrase matches
wherever it stands); at one place the longest phrase counts, once. The lists are short on purpose: a phrase is in them
when it is rarely said for another reason. They tell a trend over training, not what a model means.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["self_check", "backtrack"]


def _by_language(**phrases: str) -> dict[str, tuple[str, ...]]:
    return {language: tuple(" ".join(p.split()) for p in text.split(";")) for language, text in phrases.items()}


# What is written is looked at again, whether or not it was wrong.
SELF_CHECK: Mapping[str, tuple[str, ...]] = _by_language(
    en="""
    let me check; let's check; let me verify; let's verify; let me double check; double check; double checking;
    to verify; to check; i should check; i should verify; check again; recheck; check my work; check the answer;
    check this; sanity check; is that right; is this right; is that correct; is this correct; does that make
    sense; does this make sense; verify this; let me make sure; just to be sure; going over this again
    """,
    de="""
    prüfen wir; überprüfen wir; ich prüfe; ich überprüfe; zur kontrolle; zur probe; noch einmal prüfen; nochmal
    prüfen; stimmt das; ist das richtig; probe machen; nachrechnen; zur sicherheit
    """,
    fr="""
    vérifions; je vérifie; vérifier; revérifions; est-ce correct; est-ce juste; est-ce exact; pour être sûr;
    relisons
    """,
    es="""
    verifiquemos; comprobemos; voy a verificar; voy a comprobar; para verificar; para comprobar; revisemos; es
    correcto esto; es esto correcto; para estar seguro
    """,
    zh="""
    检查一下; 再检查; 验证一下; 来验证; 验算; 核对; 确认一下; 再确认; 对不对;
    是否正确; 检验; 再看一遍; 再算一遍; 重新检查
    """,
)

# What is written is given up, and something else is tried.
BACKTRACK: Mapping[str, tuple[str, ...]] = _by_language(
    en="""
    wait; hmm; hmmm; hold on; on second thought; actually no; no wait; scratch that; let me reconsider; let me
    rethink; let me think again; let me redo; let me start over; start over; go back; going back; try again; i
    made a mistake; i made an error; that's wrong; that is wrong; this is wrong; that's not right; that is not
    right; that's not correct; that is not correct; that can't be right; doesn't work; does not work;
    alternatively; another approach; another way; a different approach; let me try; let's try
    """,
    de="""
    warte; moment mal; einen moment; doch nicht; noch einmal von vorn; nochmal von vorn; das stimmt nicht;
    das ist falsch; ich habe mich verrechnet; anders gedacht; gehen wir zurück; ein
    anderer ansatz; anderer weg; alternativ; versuchen wir
    """,
    fr="""
    attends; attendez; un instant; en fait non; recommençons; revenons; c'est faux; ce n'est pas correct; ce
    n'est pas juste; je me suis trompé; je me suis trompée; une autre approche; autre méthode;
    alternativement; essayons
    """,
    es="""
    espera; un momento; en realidad no; volvamos; empecemos de nuevo; eso no es correcto; eso está mal; esto
    está mal; me equivoqué; otro enfoque; otra forma; alternativamente; intentemos; probemos
    """,
    zh="""
    等等; 等一下; 不对; 错了; 重新考虑; 重新想; 重新来; 重新计算; 换一种;
    换个; 另一种方法; 再试; 再想想; 不行; 我弄错; 我算错; 有误
    """,
)

_HAN = "\u3400-\u9fff\uf900-\ufaff"
_HAN_CHARACTER = re.compile(f"[{_HAN}]")
_WORD = re.compile(rf"[^\W_{_HAN}]+(?:'[^\W_{_HAN}]+)*")


@dataclass(frozen=True, slots=True)
class PhraseCounts:
    """What was found in one text."""

    words: float  # two Chinese characters count as one
    self_check: int
    backtrack: int


def count_phrases(text: str) -> PhraseCounts:
    """Count the phrases of all languages in a text."""
    words = _WORD.findall(text.casefold().replace("’", "'"))
    found = {"self_check": 0, "backtrack": 0}
    position, last = 0, len(words)
    while position < last:
        length = 1
        for phrase, kind in _BY_FIRST_WORD.get(words[position], ()):
            if words[position : position + len(phrase)] == phrase:
                found[kind] += 1
                length = len(phrase)
                break
        position += length
    han = _HAN_CHARACTER.findall(text) if _HAN_CHARACTER.search(text) else ()
    if han:
        for match in _CHINESE.finditer(text):
            found[_CHINESE_KIND[match[0]]] += 1
    return PhraseCounts(len(words) + len(han) / 2, found["self_check"], found["backtrack"])


def _by_first_word() -> dict[str, list[tuple[list[str], Kind]]]:
    """First word -> the phrases that begin with it, the longest first."""
    table: dict[str, list[tuple[list[str], Kind]]] = {}
    kinds: dict[Kind, Mapping[str, tuple[str, ...]]] = {"self_check": SELF_CHECK, "backtrack": BACKTRACK}
    for kind, languages in kinds.items():
        for language, phrases in languages.items():
            if language == "zh":
                continue
            for phrase in phrases:
                words = _WORD.findall(phrase)
                table.setdefault(words[0], []).append((words, kind))
    for entries in table.values():
        entries.sort(key=lambda entry: -len(entry[0]))
    return table


_BY_FIRST_WORD = _by_first_word()
_CHINESE_KIND: dict[str, Kind] = {
    **dict.fromkeys(SELF_CHECK["zh"], "self_check"),
    **dict.fromkeys(BACKTRACK["zh"], "backtrack"),
}
_CHINESE = re.compile("|".join(sorted(_CHINESE_KIND, key=len, reverse=True)))
