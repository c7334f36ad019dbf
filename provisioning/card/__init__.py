"""Cards: images that a device starts from, the slot in them that makes each device its own."""
