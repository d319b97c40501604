"""criteria.yaml as types: pools, star gates, readings."""
