"""How the gradients of several rewards become one for each row: beside their weighted sum."""
