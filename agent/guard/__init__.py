"""The root process: looks, decides through the core, enforces, warns. It has no network beyond loopback."""
