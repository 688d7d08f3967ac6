"""What runs in the peers' environments: each reads arrays from a file and writes JSON. Nothing here imports ours."""
