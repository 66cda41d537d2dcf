"""Checking a store: verify, repair, status, leftovers of killed tasks, and rows made again."""
