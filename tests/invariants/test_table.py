"""Which test shows which invariant; a name that no longer exists fails here.

P1   weights of a layer         invariants/test_aggregation_invariants.py::test_p1_weights_of_a_layer_are_the_shares_of_its_trainers_rows
P2   no quorum, same bits       invariants/test_aggregation_invariants.py::test_p2_layers_without_quorum_keep_their_bits
P2   buffers, tied weights      invariants/test_aggregation_invariants.py::test_p2_buffers_keep_their_bits_and_tied_weights_are_one_tensor
P2   same object                contracts/test_aggregator_contract.py::test_what_nobody_trained_is_the_same_object
P3   order of messages          invariants/test_aggregation_invariants.py::test_p3_the_order_in_which_messages_come_changes_no_bit
P3   order of clients           server/test_round.py::test_the_order_of_clients_does_not_change_the_bits
P3   order of clients, solver   solvers/test_solve.py::test_permuting_the_clients_permutes_the_masks
P4   own best layers            invariants/test_selection_invariants.py::test_p4_without_consensus_everybody_takes_the_own_best_layers
P4   monotone transforms        invariants/test_selection_invariants.py::test_p4_and_what_keeps_each_clients_ranking_keeps_the_masks
P5   equal budgets              invariants/test_selection_invariants.py::test_p5_with_all_consensus_equal_budgets_are_one_set_of_the_largest_sums
P5   unequal budgets            invariants/test_selection_invariants.py::test_p5_unequal_budgets_are_nested_spent_and_best_among_nested
P6   never exceeded             invariants/test_selection_invariants.py::test_p6_no_budget_is_exceeded_whatever_layers_cost
P6   never exceeded, selectors  contracts/test_selector_contract.py::test_masks_are_affordable_in_every_unit_at_once
P6   never empty                invariants/test_selection_invariants.py::test_p6_who_can_pay_for_a_layer_trains_one
P7   both baselines             invariants/test_selection_invariants.py::test_p7_never_worse_than_everybody_alone_or_all_alike
P7   brute force                invariants/test_selection_invariants.py::test_p7_as_good_as_the_best_of_all_masks
P7   brute force, bounds        solvers/test_agree.py::test_no_bound_is_below_the_optimum_on_tiny_instances
P8   repeats                    invariants/test_aggregation_invariants.py::test_p8_messages_that_come_up_to_five_times_count_once
P8   repeats, restarts          server/test_protocol_machine.py::test_no_sequence_of_events_makes_a_round_count_what_it_must_not
P9   linearity                  invariants/test_aggregation_invariants.py::test_p9_the_mean_of_scaled_deltas_is_the_scaled_mean
P9   exact mean                 invariants/test_aggregation_invariants.py::test_p9_the_mean_is_the_mean_of_fractions_rounded_once
P10  identical clients          invariants/test_aggregation_invariants.py::test_p10_identical_clients_are_one_centralised_step
P10  equal masks                server/test_round.py::test_equal_masks_one_full_batch_step_is_a_centralised_step
P11  FedAvg, a round            server/test_round.py::test_full_masks_are_fedavg_to_the_bit
P11  FedAvg, the mean           aggregators/test_layerwise_mean.py::test_full_masks_are_fedavg_to_the_bit
P16  names                      invariants/test_wire_invariants.py::test_p16_clients_upload_exactly_what_they_were_assigned
P16  bytes                      invariants/test_wire_invariants.py::test_p16_the_wire_carries_the_selected_layers_and_at_most_one_percent_more
P16  bytes of a ViT-S block     wire/test_reply_frames.py::test_framing_of_a_large_block_is_under_one_percent_and_64_kib
P17  frames                     invariants/test_run_invariants.py::test_p17_replies_as_values_and_as_frames_end_in_the_same_bits
P17  resumed                    invariants/test_run_invariants.py::test_p17_a_run_resumed_as_frames_ends_in_the_bits_of_an_unbroken_one
P17  resumed, every selector    server/test_resume.py::test_an_interrupted_run_resumes_to_the_same_bits
"""  # noqa: E501  a table

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROWS = re.findall(r"^(P\d+) .*? (\S+\.py)::(\w+)$", __doc__ or "", flags=re.MULTILINE)


@pytest.mark.parametrize(("number", "file", "test"), ROWS)
def test_what_the_table_names_is_there(number: str, file: str, test: str) -> None:
    assert f"def {test}(" in (Path(__file__).parents[1] / file).read_text(encoding="utf-8")


def test_every_invariant_is_in_the_table() -> None:
    assert {number for number, _, _ in ROWS} == {f"P{n}" for n in (*range(1, 12), 16, 17)}
