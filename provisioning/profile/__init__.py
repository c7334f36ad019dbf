"""Device profiles: read strictly, inherited by the stricter value, compiled to a signed policy."""
