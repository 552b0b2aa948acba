"""The order in which a driver hands out tasks: in batches, each of which needs the results of those before it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, takewhile
from threading import Event

from pipeline.job.result_writer import ResultWriter
from pipeline.planning.task import PromptTask
from pipeline.surrogate.rounds import rounds
from pipeline.surrogate.weights import weight_rounds


class Batches:
    """The tasks of a driver, either one after the other or batch by batch.

    The next task or batch may be taken only after all results of those before it have been written; except that all
    tasks of one batch may be taken at once.
    """

    def __init__(self, batches: Iterator[Iterator[PromptTask]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[PromptTask]:
        return chain.from_iterable(self.batches)


def batches_of(
    writers: Sequence[ResultWriter], tasks: Mapping[str, PromptTask], running: set[str], stop_requested: Event
) -> Iterator[Iterator[PromptTask]]:
    """Yield the tasks in batches for `Batches`: those of all plans that can run at once, then later rounds, by plan.

    Without rounds there is one batch. A plan's surrogate is trained, and its weights are re-spaced, when the batch of
    their round is taken. No plan has both kinds of rounds.

    Args:
        tasks: the open tasks of all plans, each once, by key.
        running: gets the key of each task when it is taken.
        stop_requested: an event after which no further task is yielded.
    """

    def until_stop(members: Iterable[PromptTask]) -> Iterator[PromptTask]:
        for task in takewhile(lambda _: not stop_requested.is_set(), members):
            running.add(task.key)
            yield task

    owners = {task.key: writer for writer in reversed(writers) for task in writer.open_tasks}
    yield until_stop([task for task in tasks.values() if not task.round and not task.weights_round])
    for writer in writers:
        respaced = [task for task in tasks.values() if task.weights_round and owners[task.key] is writer]
        for members in weight_rounds(writer.plan, respaced, stop_requested):
            yield until_stop(members)
        later = [task for task in tasks.values() if task.round and owners[task.key] is writer]
        for members in rounds(writer.plan, later, stop_requested):
            yield until_stop(members)
