"""The one error of this room: something is wrong with what the user gave (a file, a row, a tokenizer, a limit)."""


class DataError(ValueError):
    """One paragraph that names the value, the rule and the remedy. The command line turns it into exit code 2."""
