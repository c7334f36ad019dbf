"""Who a fleet is: its keys, its authorities, the names it gives."""
