"""Experiments on a filled store: phases with gates, reports, expert ratings, audits, benchmarks, and the command line.

Each inner room lists its public names. Nothing else in `keybed` imports this folder.
"""
