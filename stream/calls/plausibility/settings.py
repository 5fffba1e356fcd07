"""`[policy.rules]`: the settings of plausibility rules."""

from dataclasses import dataclass
from typing import Annotated

from stream.core.policy.rules import RULES, BurstSettings, RuleSettings, RuleState, RuleStates
from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked, Problem, Problems

Country = Annotated[str, Checked(checks.country)]
RuleName = Annotated[str, Checked(checks.rule)]
ListName = Annotated[str, Checked(checks.list_name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstSection:
    """`[policy.rules.bursts]`: when short calls of one number are a burst."""

    window_s: Annotated[float, Between(1, 3600)]
    calls: Annotated[int, Between(3, 1000)]
    call_s_max: Annotated[float, Between(0, 60)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesSection(RuleStates):
    """`[policy.rules]`: the rules' states, where they differ, and what they go by."""

    do_not_originate_lists: tuple[ListName, ...]
    home_number_from_abroad_except: tuple[ListName, ...]
    bursts: BurstSection
    countries: dict[Country, dict[RuleName, RuleState]]
    trunks: dict[str, dict[RuleName, RuleState]]

    def __post_init__(self) -> None:
        name = "home_number_from_abroad_except"
        twice = {*self.do_not_originate_lists}.intersection(self.home_number_from_abroad_except)
        text = "also names {}, which do_not_originate_lists says never calls; take it out of one"
        if twice:
            raise Problems([Problem((name,), text.format(one)) for one in sorted(twice)])

    def settings(self) -> RuleSettings:
        """The same for `core.rules`."""
        return RuleSettings(
            default=RuleStates(**{rule: getattr(self, rule) for rule in RULES}),
            countries=self.countries,
            trunks=self.trunks,
            do_not_originate_lists=self.do_not_originate_lists,
            home_number_from_abroad_except=self.home_number_from_abroad_except,
            bursts=BurstSettings(self.bursts.window_s, self.bursts.calls, self.bursts.call_s_max),
        )
