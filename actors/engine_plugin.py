"""vLLM plugin, loaded by every vLLM process (`vllm.general_plugins`): registers the `host` weight-transfer backend and
ties engine processes to the actor that owns them, so that a killed actor leaves no engine behind."""

import os
import select
import threading

OWNER_PID_VARIABLE = "RAYZERO_ENGINE_OWNER_PID"


def register() -> None:
    """Called by vLLM at the start of each of its processes."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory, WeightTransferTrainerFactory

    for factory, name in (
        (WeightTransferEngineFactory, "HostWeightTransferEngine"),
        (WeightTransferTrainerFactory, "HostTrainerWeightTransferEngine"),
    ):
        if "host" not in factory._registry:  # plugins may be loaded twice in one process
            factory.register_engine("host", "actors.weight_transfer", name)
    owner = int(os.environ.get(OWNER_PID_VARIABLE, "0"))
    if owner and owner != os.getpid():
        _exit_with(owner)


def _exit_with(owner_pid: int) -> None:
    """End this process when `owner_pid` ends. A pidfd becomes readable at that moment; nothing polls."""
    owner = os.pidfd_open(owner_pid)

    def watch() -> None:
        select.select([owner], [], [])
        os._exit(1)

    threading.Thread(target=watch, name="rayzero-owner-watch", daemon=True).start()
