"""Synthetic preference pairs for `configs/preference_model_cpu.yaml`: `python -m benchmarks.preference_pairs FILE`.

Nobody preferred anything: of two responses to an addition the program calls the right worked one better than a worked
one with one wrong digit in it, and that better than a bare wrong answer.
"""

import json
import sys
from pathlib import Path
from random import Random

from configs.prompts import AdditionPrompts
from data import addition

PAIRS = 1600


def pair(number: int) -> dict[str, str]:
    """One row, the same for the same number."""
    random = Random(f"preference pair:{number}")
    problem = addition.draw(AdditionPrompts(digits=2), random, "train")
    right = addition.worked(problem)
    digits = [i for i, character in enumerate(right) if character.isdigit()]
    place = random.choice(digits)
    slip = right[:place] + random.choice([d for d in "0123456789" if d != right[place]]) + right[place + 1 :]
    bare = f"<think></think><answer>{problem.a + problem.b + random.choice([-10, -1, 1, 10])}</answer>"
    chosen, rejected = random.choice([(right, slip), (right, bare), (slip, bare)])
    return {"prompt": problem.text, "chosen": chosen, "rejected": rejected}


def main(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(pair(number)) + "\n" for number in range(PAIRS)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
