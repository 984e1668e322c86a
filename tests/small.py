"""Runs one of the package's programs with networks of one level, which compile in a fraction of the time.

python small.py MODULE ARGUMENTS
"""

import runpy
from pathlib import Path

from vdip_jax.config import PRESETS

NETWORKS = dict(num_levels=1, nonlocal_from=1, kernel_hidden=16)

if __name__ == "__main__":
    for settings in PRESETS.values():
        settings.update(NETWORKS)
    runpy.run_path(str(Path(__file__).parent.parent / "bin" / "program.py"), run_name="__main__")
