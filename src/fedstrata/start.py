"""The first moments of a worker, before the imports that take seconds: it ends with its parent from here on.

    python -m fedstrata.start PARENT MODULE ARGUMENTS...

calls the module's ``main`` with the arguments; PARENT is the process id of whoever started it.
"""

from __future__ import annotations

import sys
from importlib import import_module

from fedstrata.parents import begin_as_worker

if __name__ == "__main__":
    begin_as_worker(int(sys.argv[1]))
    import_module(sys.argv[2]).main(sys.argv[3:])
