"""The hands: each holds one of root's powers for a few seconds, and does a few fixed things with it."""
