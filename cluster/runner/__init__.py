"""`quadrat run`: driver, worker pool, actors, schedule and recorder."""
