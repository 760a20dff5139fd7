"""Measurements. Figures of one run belong together: only their ratios can be compared with another machine's."""
