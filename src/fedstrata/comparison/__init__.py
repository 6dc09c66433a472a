"""Methods against each other: outcomes of runs, which of them may be compared, intervals and paired differences."""
