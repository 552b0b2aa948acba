"""What a run learns between its rounds of fronts: surrogates, from training pairs; and weights, from scores."""
