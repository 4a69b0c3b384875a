"""Files that survive a kill: atomic writes, the content-addressed store, leases, results on a URL."""
