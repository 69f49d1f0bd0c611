"""DeepSpeed's compiled operators: compiled once in each environment, loaded by every rank that needs them.

torch guards the folder of an operator with a file that only its maker removes, even when nothing is to be compiled: the
file of a process that was killed at that moment makes every later one wait for ever. So whoever loads an operator here
holds a lock that the kernel takes back with the process, and a guard that is found under it is nobody's.
`make setup` compiles what every rank on a CPU needs: `python -m actors.deepspeed_ops`.
"""

import fcntl
import os
import sys
from pathlib import Path
from typing import Literal

FOLDER = "TORCH_EXTENSIONS_DIR"  # torch's own variable; not set, the operators lie in this environment

# Collectives between the ranks of a node that have no GPU; AdamW of what Muon leaves; AdamW of an offloaded optimizer.
Operator = Literal["ShareMemCommBuilder", "FusedAdamBuilder", "CPUAdamBuilder"]


def load_operator(builder_name: Operator) -> None:
    """Load the operator, after compiling it where that is still to be done. DeepSpeed then finds it loaded.

    Waits while another process compiles it. Raises what the compiler's start raises, with its words; does nothing where
    DeepSpeed says that this machine cannot have the operator (a GPU without its compiler) and goes without it.
    """
    folder = Path(os.environ.setdefault(FOLDER, str(Path(sys.prefix) / "torch_extensions")))
    folder.mkdir(parents=True, exist_ok=True)
    from deepspeed.accelerator import get_accelerator

    accelerator = get_accelerator()
    builder = accelerator and accelerator.create_op_builder(builder_name)
    if builder is None or not builder.is_compatible(verbose=False):
        return
    guard = folder / builder.name / "lock"
    with (folder / f"{builder.name}.flock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        guard.unlink(missing_ok=True)
        builder.load(verbose=False)


if __name__ == "__main__":
    load_operator("ShareMemCommBuilder")
