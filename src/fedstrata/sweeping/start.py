"""The first moments of a sweep's worker, before the imports that take seconds: it ends with its parent from here on.

python -m fedstrata.sweeping.start PIPE PARENT
"""

from __future__ import annotations

import sys

from fedstrata.parents import begin_as_worker

if __name__ == "__main__":
    begin_as_worker(int(sys.argv[2]))
    from fedstrata.sweeping.worker import main

    main(sys.argv[1:])
