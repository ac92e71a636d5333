"""Gating: the decision whether a challenger replaces the champion.

Start with `gate_rules`, which turns a night's measurements into checks. `gate_results` makes the verdict and stores it;
`gate_page` renders it with templates/gate.html. The command is models/gate.py; it promotes nothing.
"""
