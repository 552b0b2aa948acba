"""The configuration of a run: its types and checks, how it is read, and one YAML for each experiment."""
