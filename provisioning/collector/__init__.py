"""The receiving side: opens sealed telemetry, keeps it durably, answers "received up to"."""
