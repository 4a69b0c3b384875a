"""What trials will cost: which is started first, and which share a round."""

from support.fake_trials import make_suite

from quadrat.benchmark.config.sharing import expected_steps, longest_first, shared_round
from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec


def trials(**changes: object) -> list[TrialSpec]:
    return make_suite(full_supervision=True, **changes).trials()


LEARNER = {"encoder": "test_resnet", "weights": "none", "batch_size": 4}


def test_with_iterations_every_round_costs_the_same() -> None:
    reference, *_, last = trials(learner={**LEARNER, "iterations": 50})
    assert reference.strategy == FULL_SUPERVISION
    assert expected_steps(reference, num_images=100) == 50
    assert expected_steps(last, num_images=100) == 3 * 50
    assert expected_steps(last, num_images=100, num_done=2) == 50


def test_with_epochs_a_round_costs_as_many_steps_as_its_labelled_images() -> None:
    reference, *_, last = trials(learner={**LEARNER, "epochs": 2})
    # 10 images, 4 a batch, twice; the budgets 4, 8, 16 are in 4, 8 and all 10 images at most
    assert expected_steps(reference, num_images=10) == 5
    assert expected_steps(last, num_images=10) == 2 + 4 + 5


def test_the_longest_trial_is_started_first_and_ties_stay_in_the_order_of_the_suite() -> None:
    by_iterations = trials(learner={**LEARNER, "iterations": 50})
    assert longest_first(by_iterations, num_images=100) == by_iterations[2:] + by_iterations[:2]
    by_epochs = trials(learner={**LEARNER, "epochs": 2})
    assert longest_first(by_epochs, num_images=1000) == by_epochs  # the references see every image


def test_rounds_that_are_done_make_a_trial_shorter() -> None:
    suite = make_suite().trials()
    done = [(suite[0].trial_id, 0), (suite[0].trial_id, 1), (suite[2].trial_id, 0)]
    assert longest_first(suite, num_images=100, done=done) == [suite[1], suite[3], suite[2], suite[0]]


def test_round_0_is_shared_by_the_strategies_of_a_seed_and_not_by_seeds_or_the_reference() -> None:
    reference, _, random_0, random_1, entropy_0, _ = trials()
    assert shared_round(random_0) == shared_round(entropy_0) != shared_round(random_1)
    assert shared_round(reference) is None
