"""Which languages a text is written in: words outside code and mathematics, counted by language.

Code, mathematics, tags, links, numbers and single letters are neutral. What is left is cut into clauses. Words in Latin
letters are of one language in a clause: the one that most of the clause's small words belong to, or, when they do not
say, the one of the whole text (English when that does not say either). Words in other letters are told by script:
Chinese characters are Japanese in a clause with kana, or without when most of the text's have kana around them; two of
either count as one word.
"""

import re
from collections import Counter

from configs.rewards import LanguageCode

_NEUTRAL = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$[^$]*\$\$|\$[^$\n]*\$|\\\[(?:(?!\\\[).)*?\\\]|\\\((?:(?!\\\().)*?\\\)"
    r"|\\[A-Za-z]+|</?[A-Za-z_]+>|https?://\S+|(?<!\w)\w*?[0-9_]\w*",
    re.DOTALL,
)
_CLAUSE_END = re.compile(r"[.!?;:,\n。！？；：，、।॥،؛؟]+")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3041-\u30ff]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]{2,}")
# Vowel signs are no letters to a pattern of letters, so each script is its own range.
_SCRIPTS: dict[LanguageCode, re.Pattern[str]] = {
    "ru": re.compile(r"[\u0400-\u052f]{2,}"),
    "ko": re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]+"),
    "ar": re.compile(r"[\u0620-\u065f\u066e-\u06ef\u06fa-\u06ff\u0750-\u077f]{2,}"),
    "hi": re.compile(r"[\u0900-\u0963\u0970-\u097f]{2,}"),
}
# Letters that the script has for its other languages: Ukrainian, Belarusian, Serbian; Persian, Urdu.
_FOREIGN_LETTERS: dict[LanguageCode, re.Pattern[str]] = {
    "ru": re.compile(r"[\u0400\u0402-\u040f\u0450\u0452-\u052f]"),
    "ar": re.compile(r"[\u067e\u0686\u0698\u06a9\u06af\u06cc\u0679\u0688\u0691\u06ba\u06be\u06c1\u06d2]"),
}
_FOREIGN_WORDS: dict[LanguageCode, frozenset[str]] = {
    "hi": frozenset(["आहे", "आणि", "नाही", "आहेत", "म्हणून", "छ", "छन्", "भने"]),  # Marathi, Nepali
}
_OTHER = re.compile(
    r"[^\W\d_A-Za-z\u00c0-\u024f\u0400-\u052f\u0620-\u06ff\u0750-\u077f\u0900-\u097f"
    r"\u1100-\u11ff\u3041-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]{2,}"
)
_WORDS: dict[LanguageCode, str] = {
    "en": """
        the of and to in is that it for as with be by on not this are from or have an was we so if then than which can
        at there their let you but has will would must what how when where because since thus hence therefore only all
        each any one two into out up no do does its they he she his her my our your these those first next now
        """,
    "de": """
        der die das und ist nicht ein eine einen einem einer wir sich mit auf für von dem den des zu wenn dann also aus
        bei auch nach im sind wird werden es daher weil oder aber als haben hat kann nur noch wie sie ich durch um zum
        zur somit damit dass jetzt beide beiden
        """,
    "fr": """
        le la les et est une un des du dans que qui nous pour pas sur avec donc sont ce cette au aux par plus il elle
        de en on se ne alors puis mais ou où leur ses son sa être avons peut comme si deux vous je cela ainsi car
        """,
    "es": """
        el los las la y es en por con para se lo como más pero su entonces una un del al si no de que son está esto este
        esta hay tiene tenemos ya porque cuando donde luego también sus dos nos ser puede ahora sobre
        """,
    "it": """
        il lo gli che di è un una per con non sono della dei nel quindi del la le si da ma anche come più questo questa
        abbiamo ha ci poi allora perché se alla al delle nella due essere può ora dal
        """,
    "pt": """
        o os as e é um uma não para com que do da dos das em no na se então portanto de por mais mas como são está isso
        este esta temos tem ou ao à pelo pela seu sua também porque quando dois ser pode agora
        """,
    "nl": """
        de het een en van dat niet met voor zijn is dus te in op aan er we wordt worden als maar ook nog door om bij uit
        hebben heeft kan dan deze dit wat of naar over twee nu geen
        """,
}
_SMALL_WORDS: dict[str, list[LanguageCode]] = {}
for _language, _text in _WORDS.items():
    for _word in _text.split():
        _SMALL_WORDS.setdefault(_word, []).append(_language)
# Letters that only one of these languages has.
_OWN_LETTERS: dict[str, LanguageCode] = {"ß": "de", "ä": "de", "ü": "de", "ñ": "es", "ã": "pt", "õ": "pt", "œ": "fr"}
_SURE_HITS = 2  # small words that outweigh what the rest of the response is written in


def count_words(text: str) -> Counter[str]:
    """Words by ISO code, and `other` for those of any other language; Chinese and Japanese ones may be halves."""
    clauses = _CLAUSE_END.split(_NEUTRAL.sub(" , ", text))
    words = _latin_words(clauses)
    words.update(_east_asian_words(clauses))
    for clause in clauses:
        for script, pattern in _SCRIPTS.items():
            words.update(_own_or_other(script, pattern.findall(clause)))
        words["other"] += len(_OTHER.findall(clause))
    return words


def _latin_words(clauses: list[str]) -> Counter[str]:
    """Numbers of words in Latin letters, by language."""
    found = [(len(latin), _hits(latin)) for clause in clauses if (latin := _LATIN.findall(clause))]
    in_all: Counter[LanguageCode] = Counter()
    for _, hits in found:
        in_all.update(hits)
    main = max(_WORDS, key=lambda code: in_all[code])  # the first, English, when nothing says
    words: Counter[str] = Counter()
    for count, hits in found:
        best = max(_WORDS, key=lambda code: (hits[code], in_all[code]))
        sure = hits[best] >= _SURE_HITS and hits[best] > hits[main]
        words[best if sure else main] += count
    return words


def _hits(latin: list[str]) -> Counter[LanguageCode]:
    hits: Counter[LanguageCode] = Counter()
    for word in latin:
        folded = word.casefold()
        hits.update(_SMALL_WORDS.get(folded, ()))
        if not folded.isascii():
            hits.update({_OWN_LETTERS[letter] for letter in folded if letter in _OWN_LETTERS})
    return hits


def _east_asian_words(clauses: list[str]) -> Counter[str]:
    """Chinese and Japanese, two characters to a word."""
    alone = beside_kana = kana = 0
    for clause in clauses:
        han, syllables = len(_HAN.findall(clause)), len(_KANA.findall(clause))
        kana += syllables
        if syllables:
            beside_kana += han
        else:
            alone += han
    japanese = beside_kana + kana + (alone if beside_kana >= alone else 0)
    counts: Counter[str] = Counter()
    counts["ja"] = japanese / 2  # pyright: ignore[reportArgumentType]
    counts["zh"] = (alone + beside_kana + kana - japanese) / 2  # pyright: ignore[reportArgumentType]
    return counts


def _own_or_other(script: LanguageCode, words: list[str]) -> Counter[str]:
    """How many of the words may be of the language that the script stands for, and of its other languages."""
    letters, foreign = _FOREIGN_LETTERS.get(script), _FOREIGN_WORDS.get(script, frozenset[str]())
    others = sum(word in foreign or bool(letters and letters.search(word)) for word in words)
    return Counter({script: len(words) - others, "other": others})
