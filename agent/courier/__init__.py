"""The network half of the agent: unprivileged, sees sealed bytes only, can change nothing."""
