"""From a MAESTRO folder to a filled store: `planning.plan.plan`, `run.task.extract`, `export.archive.export`.

Their settings are in `config` (`PlanConfig`, `ExtractConfig`, `ExportConfig`); each inner room lists its public names.
"""
