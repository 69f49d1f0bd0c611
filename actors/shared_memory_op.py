"""DeepSpeed's shared-memory collectives for ranks on CPUs: compiled once in each environment, loaded by every rank.

torch guards the folder of an operator with a file that only its maker removes, even when nothing is to be compiled: the
file of a process that was killed at that moment makes every later one wait for ever. So whoever loads the operator here
holds a lock that the kernel takes back with the process, and a guard that is found under it is nobody's.
`make setup` compiles ahead: `python -m actors.shared_memory_op`.
"""

import fcntl
import os
import sys
from pathlib import Path

FOLDER = "TORCH_EXTENSIONS_DIR"  # torch's own variable; not set, the operator lies in this environment


def load_shared_memory_op() -> None:
    """Load the operator, after compiling it where that is still to be done. DeepSpeed then finds it loaded.

    Waits while another process compiles it. Raises what the compiler's start raises, with its words.
    """
    folder = Path(os.environ.setdefault(FOLDER, str(Path(sys.prefix) / "torch_extensions")))
    folder.mkdir(parents=True, exist_ok=True)
    from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

    builder = ShareMemCommBuilder()
    guard = folder / builder.name / "lock"
    with (folder / f"{builder.name}.flock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        guard.unlink(missing_ok=True)
        builder.load(verbose=False)


if __name__ == "__main__":
    load_shared_memory_op()
