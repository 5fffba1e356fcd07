"""Pytest's plug-in for runs on mutants: the same examples each time, and no more than needed."""

from hypothesis import HealthCheck, Phase, settings

# Nobody reads a mutant's failure: it is not made smaller, not explained and not kept.
settings.register_profile(
    "mutants",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
)
