"""Where a run is: counted, drawn in a terminal, and written to a status file."""
