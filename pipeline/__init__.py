"""The job around the method: prompts in, one Parquet part out for each finished prompt."""
