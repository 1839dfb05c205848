"""Starts: the mixtures that EM over all rows begins with.

Those that are given, those of an assignment of the sample's rows, those that won a
competition on the sample, and those that all rows showed to be missing.
"""

from daskgmm.em.starts.assign import INITIALISERS, StartMaker
from daskgmm.em.starts.climbs import Climber
from daskgmm.em.starts.competing import N_STARTS, Competition, hopeless
from daskgmm.em.starts.exchanges import can_exchange, with_exchanges, with_one_less, with_one_more
from daskgmm.em.starts.extended_search import ExtendedSearch
from daskgmm.em.starts.given import GivenStart
from daskgmm.em.starts.rare import may_miss_components, with_rare_components

__all__ = [
    "INITIALISERS",
    "N_STARTS",
    "Climber",
    "Competition",
    "ExtendedSearch",
    "GivenStart",
    "StartMaker",
    "can_exchange",
    "hopeless",
    "may_miss_components",
    "with_exchanges",
    "with_one_less",
    "with_one_more",
    "with_rare_components",
]
