"""The embedded model: a small trained text-to-image model, a small image-text encoder, and the scripts
that make them."""
