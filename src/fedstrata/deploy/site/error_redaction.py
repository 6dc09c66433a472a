"""What a server is told of an exception at a site.

What a server reads of a failure is a sentence of ours: the text of an exception may hold paths or rows of the site, so
it stays in the worker's own log. So does the name of an exception that the site's own code has named.
"""

from __future__ import annotations

import logging

from fedstrata.blame import kind_of, own_code
from fedstrata.domain.reasons import Reason
from fedstrata.engines.local import failure
from fedstrata.errors import ClientError, ConfigError, DataError, LabelError
from fedstrata.wire.messages import Failure, Request

log = logging.getLogger(__name__)

_SEE = "the site's own worker.log says what"
_SEE_WHICH = "the site's own worker.log says which, and in which file and row"


def failed(request: Request, error: Exception) -> Failure:
    """Return the failure that stands for an exception."""
    reason = error.reason if isinstance(error, ClientError) else Reason.CLIENT_ERROR
    return failure(request, reason, sentence(error))


def sentence(error: Exception) -> str:
    """Return what a server may read of an exception; the rest goes to the worker's own log."""
    if isinstance(error, ClientError):
        return str(error)
    if isinstance(error, ConfigError):
        log.error("%s", error)
        return f"its own file, its model or its rows do not fit the run; {_SEE}"
    if isinstance(error, LabelError) or isinstance(error.__cause__, LabelError):
        log.error("%s; leave such rows out, or have the run's labels name it (data.labels)", error)
        return f"its rows have a label that the run does not have (data.labels); {_SEE_WHICH}"
    if isinstance(error, DataError):
        log.error("%s", error)
        return f"its rows cannot be used; {_SEE}"
    own = own_code(error)
    log.error("the work failed%s", f": {own[0]}" if own else "", exc_info=error)
    return f"its work ended with {kind_of(error)}; {_SEE}"
