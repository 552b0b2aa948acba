"""Pretrained text-to-image models behind five calls: encode, reverse step, look-ahead, decode, latent
shape."""
