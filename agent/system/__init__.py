"""The only door to the operating system, and the rooms that keep things durable and sealed."""
