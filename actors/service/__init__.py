"""The notifier as a service of its own: HTTP in front, settings from a file; needs the extra ``service``."""
