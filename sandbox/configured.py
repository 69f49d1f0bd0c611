"""From the config's section to a sandbox: in this process, or the service that the section names."""

import os
from functools import partial
from pathlib import Path

from configs.sandbox import Sandbox as Section
from sandbox.box import Sandbox
from sandbox.limits import MIB, SandboxLimits
from sandbox.remote import RemoteSandbox
from sandbox.results import SandboxUnavailable
from sandbox.runner import TaskRunner

SHORTEST_TOKEN = 16


def configured(section: Section) -> TaskRunner:
    """What runs tasks as the section says, not yet entered."""
    limits = SandboxLimits(
        cpu_s=section.cpu_s,
        wall_s=section.wall_s,
        memory_bytes=section.memory_mib * MIB,
        output_bytes=section.output_mib * MIB,
        scratch_bytes=section.scratch_mib * MIB,
    )
    if section.url is None:
        return Sandbox(limits, section.isolation, section.workers)
    token = partial(read_token, section.token_file, section.token_env)
    return RemoteSandbox(section.url, token, limits, section.isolation)


def read_token(file: str | Path | None, variable: str | None) -> str:
    """The bearer token in a file or an environment variable, without the white space around it.

    Raises SandboxUnavailable that says where it was looked for, and never what was found.
    """
    if file is not None:
        place = f"the file {file}"
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SandboxUnavailable(f"no token for the sandbox service: {place}: {error}") from error
    else:
        place, token = f"the environment variable {variable}", os.environ.get(variable or "", "").strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise SandboxUnavailable(
            f"no token for the sandbox service: {place} has {len(token)} characters; it must hold at least "
            f"{SHORTEST_TOKEN} printable ones of ASCII without spaces, such as `openssl rand -hex 32` makes"
        )
    return token
