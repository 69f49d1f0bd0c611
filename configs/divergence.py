"""How far a student's token distribution is from its teacher's; algorithms/distillation.py has the formulas."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from configs.strict import Section


class Divergence(Section):
    """Divergence of the student from the teacher at every response token."""

    type: Literal["forward_kl", "reverse_kl", "jsd"] = "forward_kl"
    """`forward_kl`: KL(teacher || student) (Hinton et al., arXiv 1503.02531), covers all that the teacher might say.
    `reverse_kl`: KL(student || teacher) (MiniLLM, arXiv 2306.08543), keeps to what it would likely say. `jsd`:
    generalised Jensen-Shannon (GKD, arXiv 2306.13649), between the two."""
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of `jsd`: the teacher's share of the mixture; towards 0 it behaves as the forward KL, towards 1 as the reverse
    one."""
    temperature: PositiveFloat = 1.0
    """Logits of both are divided by it; the loss is multiplied by its square, so that gradients keep their size."""
    top_k: PositiveInt = 64
    """Tokens whose logprobs the teacher gives at each position, its likeliest ones; the others are one outcome. From
    the size of the vocabulary on, the divergence is exact."""
