"""Statistics behind decisions: pure, over counts, valid however often they are looked at."""
