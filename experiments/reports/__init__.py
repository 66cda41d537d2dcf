"""Reports: pages, plots and tables made from a run's results."""
