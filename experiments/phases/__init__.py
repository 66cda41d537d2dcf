"""The phases of the training plan: each tests one thing on a filled store and ends in a gate.

Public names: `phase2.run_phase2`, `phase3.run_phase3`, `phase4.run_phase4`, `window_check.run_window_check`,
`compare.run_compare`, `run_before.check_run_before`, `demo.run_demo`, and their settings in `config`.
"""
