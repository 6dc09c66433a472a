"""The first moments of a worker, before the imports that take seconds: it ends with its parent from here on.

    python -m fedstrata.start PARENT MODULE PIPE ARGUMENTS...

calls the module's ``main`` with its end of the pipe, and the arguments, until the other end is gone. PARENT is the
process id of whoever started it, PIPE an inherited descriptor.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module

from fedstrata.parents import begin_as_worker

if __name__ == "__main__":
    parent, module, descriptor, *arguments = sys.argv[1:]
    begin_as_worker(int(parent))
    from multiprocessing.connection import Connection

    os.set_inheritable(int(descriptor), False)  # a program that this one starts must not keep it open
    with suppress(BrokenPipeError):
        import_module(module).main(Connection(int(descriptor)), arguments)
