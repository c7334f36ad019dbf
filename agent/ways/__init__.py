"""Ways in: one file each, tried by using them."""
