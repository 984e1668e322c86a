"""Runs a module of the package as a program: program.py MODULE ARGUMENTS."""

import runpy
import signal
import sys

if __name__ == "__main__":
    # Importing takes seconds. A Ctrl-C meanwhile ends the process at once, where Python would print a traceback or, as
    # it does in callbacks, drop it. One that is ignored, as in the background, goes on being so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _, module, *arguments = sys.argv
    sys.argv = [module, *arguments]
    runpy.run_module(f"vdip_jax.{module}", run_name="__main__", alter_sys=True)
