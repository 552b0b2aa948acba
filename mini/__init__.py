"""The embedded model: a small text-to-image model, a small image-text encoder, and the scripts that train them."""
