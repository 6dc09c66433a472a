"""What a run will cost, before it is played: prices of blocks, ranges of rounds, and a forecast of what is selected."""
