"""The figures of the report: charts, galleries of selected regions, the round viewer."""
