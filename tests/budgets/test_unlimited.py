from __future__ import annotations

from fedstrata.budgets.protocol import FullCost
from fedstrata.budgets.unlimited import Unlimited
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds


def test_every_mask_fits() -> None:
    assert Cost(layers=1e9).fits(Unlimited().assign([ClientId("a")], Seeds(0), FullCost())[ClientId("a")])
