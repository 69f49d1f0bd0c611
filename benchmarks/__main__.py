"""`python -m benchmarks [names ...] [--quick]`: measure, print one table, and write it into docs/benchmarks.md.

`benchmarks/results.json` keeps the last figures of every benchmark, so that one can be measured again alone. With
`--quick` nothing is written: its figures only show that the benchmarks run.
"""

import argparse
import importlib
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, as_table
from cli.cluster import set_environment

NAMES = (
    "loop_overhead",
    "math_reward",
    "learner",
    "sync",
    "rollout",
    "sandbox",
    "launch",
    "async_speedup",
    "grpo_throughput",
)
RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
NEW_PAGE = f"""# Benchmarks
`make bench` measures and writes the table; `python -m benchmarks learner` measures one benchmark again. Both sides of a
ratio run on the same machine, one after the other, and the fastest of several rounds counts. What each side includes
stands at the top of its file in `benchmarks/`.

{BEGIN}
{END}
"""


def machine() -> str:
    """The processor and how many cores this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{models[0] if models else platform.machine()}, {cores} cores"


def measured_section(results: dict[str, Any]) -> str:
    """What stands between the markers: one table for each machine that figures come from."""
    parts: list[str] = []
    for where in dict.fromkeys(entry["machine"] for entry in results.values()):
        mine = [name for name in NAMES if name in results and results[name]["machine"] == where]
        parts.append(f"{where}:\n\n{as_table([Row(**row) for name in mine for row in results[name]['rows']])}")
    return "\n\n".join(parts)


def write_page(section: str) -> None:
    """Replace what stands between the markers. Raises ValueError when the page has lost them."""
    page = PAGE.read_text() if PAGE.exists() else NEW_PAGE
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} needs the lines {BEGIN} and {END} for the table to stand between")
    PAGE.write_text(f"{before}{BEGIN}\n{section}\n{END}{after}")


def main() -> None:
    """Measure what is named, or everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure rayzero on this machine.")
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer rounds; writes nothing")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(NAMES)):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    os.environ.pop("RAY_ADDRESS", None)  # a benchmark must never join a cluster that somebody works on
    set_environment(loopback=True)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    shown: list[Row] = []
    for name in arguments.names or NAMES:
        print(f"measuring {name}", flush=True)
        # Not before the environment is set: Ray reads it once, when it is imported.
        rows = importlib.import_module(f"benchmarks.{name}").measure(arguments.quick)
        shown += rows
        results[name] = {"machine": machine(), "rows": [asdict(row) for row in rows]}
        if not arguments.quick:
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            write_page(measured_section(results))
    print(as_table(shown))


if __name__ == "__main__":
    main()
