"""A web page on which people rate clips: `server.build_app` serves it, `offline.write_offline` writes it as folders."""
