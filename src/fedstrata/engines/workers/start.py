"""The first moments of a worker, before the imports that take seconds: it ends with its parent from here on.

python -m fedstrata.engines.workers.start PIPE ARENA AREA BYTES PARENT
"""

from __future__ import annotations

import sys

from fedstrata.parents import begin_as_worker

if __name__ == "__main__":
    begin_as_worker(int(sys.argv[5]))
    from fedstrata.engines.workers.main import main

    main(sys.argv[1:])
