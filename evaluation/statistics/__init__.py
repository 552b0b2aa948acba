"""Statistics of means over prompts: intervals, paired tests, corrections for many comparisons."""
