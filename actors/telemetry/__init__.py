"""What the actors of a run do, counted and logged for the driver, its log and Prometheus."""
