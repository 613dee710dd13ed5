"""The android target: a runtime's own benchmark program on a phone, driven over adb."""
