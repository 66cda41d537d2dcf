"""Stores that lie behind a URL: read only, file by file, through a bounded cache on this machine's disk.

Public names: `address.Address`, `address.parse`, `mirror.Mirror`, `open.mirror_of`.
"""
