"""Reports: pages, plots and tables made from a run's results and gate.

Public names: `report.render`, `results.read_results`, `page.Page`, `page.write_page`, `plots.forest`, `heat_map.heat_map`,
`figure.new_figure`, `glossary.glossary`.
"""
