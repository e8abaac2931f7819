"""`palate bench`: every method on the demo world at the same budget, and the questions that this answers."""
