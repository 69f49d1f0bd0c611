"""Which languages a text is written in: words outside code and mathematics, counted by language.

Code, mathematics, tags, links and single letters are neutral. What is left is cut into clauses, and each is of one
language: Japanese with kana in it; by the small words below when it is in Latin letters (a clause in which another
language has more of them than English is foreign); otherwise word by word by script. Two Chinese characters count as
one word.
"""

import re
from dataclasses import dataclass

_NEUTRAL = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$[^$]*\$\$|\$[^$\n]*\$|\\\[(?:(?!\\\[).)*?\\\]|\\\((?:(?!\\\().)*?\\\)"
    r"|\\[A-Za-z]+|</?[A-Za-z_]+>|https?://\S+|(?<!\w)\w*?[0-9_]\w*",
    re.DOTALL,
)
_CLAUSE_END = re.compile(r"[.!?;:,\n。！？；：，、]+")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3041-\u30ff]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]{2,}")
_OTHER = re.compile(r"[^\W\d_A-Za-z\u00c0-\u024f\u3400-\u9fff\uf900-\ufaff]{2,}")
_ENGLISH_WORDS = """
the of and to in is that it for as with be by on not this are from or have an was we so if then than which can
at there their let you but has will would must what how when where because since thus hence therefore only all
each any one two into out up no do does its they he she his her my our your these those first next now
"""
_FOREIGN_WORDS = """
der die das und ist nicht ein eine einen wir sich mit auf für von dem den des zu wenn dann also aus bei auch nach
le la les et est une un des du dans que qui nous pour pas sur avec donc sont ce cette au aux par plus il elle
el los las y es en por con para se lo como más pero su entonces una del al si no
il lo gli che di è un una per con non sono della dei nel quindi
o os as e é um uma não para com que do da dos das em no na se então portanto
de het een en van dat niet met voor zijn is dus
"""  # German, French, Spanish, Italian, Portuguese, Dutch
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_FOREIGN = frozenset(_FOREIGN_WORDS.split()) - _ENGLISH


@dataclass(frozen=True, slots=True)
class WordCounts:
    """Words of a text by language; Chinese ones are half its characters."""

    english: float
    chinese: float
    foreign: float  # Latin letters of another language
    other: float  # other scripts, Japanese among them

    @property
    def total(self) -> float:
        """All of them."""
        return self.english + self.chinese + self.foreign + self.other

    @property
    def beside_the_main(self) -> float:
        """Words that are not of the language with the most words."""
        return self.total - max(self.english, self.chinese, self.foreign, self.other)


def count_words(text: str) -> WordCounts:
    """The text's words outside code and mathematics."""
    english = chinese = foreign = other = 0.0
    for clause in _CLAUSE_END.split(_NEUTRAL.sub(" , ", text)):
        latin = [word.casefold() for word in _LATIN.findall(clause)]
        if _is_foreign(latin):
            foreign += len(latin)
        else:
            english += len(latin)
        han = len(_HAN.findall(clause)) / 2
        if _KANA.search(clause):
            other += han
        else:
            chinese += han
        other += len(_OTHER.findall(clause))
    return WordCounts(english, chinese, foreign, other)


def _is_foreign(words: list[str]) -> bool:
    foreign = sum(word in _FOREIGN for word in words)
    return foreign >= 2 and foreign > sum(word in _ENGLISH for word in words)
