"""A small web page on which people rate clips: served locally, or written as a folder that needs no server."""
