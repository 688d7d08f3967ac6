"""How predictions turned out: signed tokens out, outcomes back in, and nothing but counts kept."""
