"""Pretrained text-to-image models behind one interface: encode, reverse step, look-ahead, decode, latent shape."""
