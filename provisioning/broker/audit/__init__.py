"""Tries the doors of any MQTT broker from a device's seat."""
