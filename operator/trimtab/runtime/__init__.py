"""The shell: all I/O of the operator. It walks the table of kinds and knows nothing of their meaning."""
