"""Black-box rewards, one module each, found by name. For every reward, higher is better."""
