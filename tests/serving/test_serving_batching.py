"""Batches form while the worker is busy, and only then."""

from __future__ import annotations

from tests.serving.replica import Replica

SLOW = """
import time
sizes = []
def predict(model, batch):
    if batch[0] == "sizes":
        return [sizes] * len(batch)
    time.sleep(0.02)
    sizes.append(len(batch))
    return batch
"""


def test_callers_at_the_same_time_share_calls(replica: Replica) -> None:
    replica.ready(SLOW)
    answers = replica.ask_all([{"n": number} for number in range(128)])
    assert [answer.json for answer in answers] == [{"n": number} for number in range(128)]
    (sizes,) = replica.ask(["sizes"]).json
    assert sum(sizes) == 128
    assert len(sizes) < 64
    assert replica.metric("batches_total") == len(sizes) + 1


def test_a_caller_alone_never_waits_for_company(replica: Replica) -> None:
    replica.ready(SLOW)
    for number in range(5):
        replica.ask({"n": number})
    assert replica.ask(["sizes"]).json == [[1] * 5]


def test_no_batch_is_larger_than_the_handler_allows(replica: Replica) -> None:
    replica.ready(SLOW, max_batch=5)
    answers = replica.ask_all([[{"n": number}, {"m": number}] for number in range(32)])
    assert [answer.json for answer in answers] == [[{"n": number}, {"m": number}] for number in range(32)]
    (sizes,) = replica.ask(["sizes"]).json
    assert max(sizes) <= 5


def test_one_long_request_is_cut_into_batches_and_put_together_again(replica: Replica) -> None:
    replica.ready(SLOW, max_batch=10)
    assert replica.ask(list(range(1, 96))).json == list(range(1, 96))
    (sizes,) = replica.ask(["sizes"]).json
    assert sizes == [10] * 9 + [5]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(replica: Replica) -> None:
    replica.ready("import time\ndef predict(model, batch): time.sleep(0.2); return batch", max_batch=1, queue=4)
    answers = replica.ask_all([{"n": number} for number in range(16)], callers=16)
    refused = [answer for answer in answers if answer.status == 503]
    assert refused
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert len(refused) + sum(answer.status == 200 for answer in answers) == 16
    assert replica.metric("refused_total") == len(refused)


def test_a_large_answer_and_a_large_question_pass(replica: Replica) -> None:
    replica.ready("def predict(model, batch): return [item * 2 for item in batch]")
    assert replica.ask(["x" * 5_000_000]).json == ["x" * 10_000_000]
