"""Black-box rewards: one file each, found by name. Higher is better, of every one."""
