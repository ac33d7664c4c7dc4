"""The torch engine. Nothing is imported here: the plugin must load without torch."""
