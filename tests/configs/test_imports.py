"""Configs load in an instant: no heavy library comes with them."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit


def test_loading_a_config_imports_no_heavy_library():
    program = (
        "import sys; from configs.load import load_run; from configs import reference\n"
        "load_run('configs/demo.yaml')\n"
        "heavy = {'torch', 'ray', 'transformers', 'vllm', 'deepspeed', 'mlflow', 'numpy', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
