"""Evaluation: metrics of recommendation lists, their intervals, and the popularity dial.

Start with `measurement.measure`: lists of several models in, a `Measurement` per metric and segment out.
`evaluation_set` holds what lists are measured against, `segments` the parts measured on their own, `comparison` and
`ratios` the bootstrap intervals, `dial_points`, `dial_curve` and `dial_settings` the dial. `evaluations_table` stores a
night's figures.

To add a metric, see `metric_registry`.
"""
