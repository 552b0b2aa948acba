"""LoRAs: which layers a file changes, whether they have a place in the model, and their loading."""
