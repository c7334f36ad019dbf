"""The host side of Privet: profiles, fleets, brokers, and the receivers of sealed telemetry."""
