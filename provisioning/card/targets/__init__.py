"""What can be written to: a card in a reader, a loop device, a file; and cards that fail, for tests."""
