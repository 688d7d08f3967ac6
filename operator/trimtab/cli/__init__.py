"""`kubectl trimtab`: what the operator decided and why, from a terminal; and the same code offline."""
