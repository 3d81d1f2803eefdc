"""How much Python a small request takes: counted, since counts are stable where times are not."""
