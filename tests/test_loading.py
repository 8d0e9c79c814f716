"""One thread loads while none works, and neither ever waits for itself."""

import threading

from headartist.system.loading import Loading

S = 20.0  # seconds that a busy machine may take


def test_work_waits_for_loading_and_loading_for_work():
    loading, order = Loading(), []
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with loading.working():
            inside.set()
            leave.wait(S)
            order.append("worked")

    def load() -> None:
        with loading:
            order.append("loaded")

    worker = threading.Thread(target=work)
    worker.start()
    assert inside.wait(S)
    with loading.working():  # beside the other
        pass
    loader = threading.Thread(target=load)
    loader.start()
    loader.join(0.2)
    assert order == []
    leave.set()
    worker.join(S)
    loader.join(S)
    assert order == ["worked", "loaded"]


def test_both_nest_in_each_other_in_two_threads_at_once():
    loading, ended = Loading(), []
    both = threading.Barrier(2)

    def run() -> None:
        with loading.working():
            both.wait(S)
            with loading, loading, loading.working():
                pass
            with loading.working():
                ended.append(loading._loader)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(S)
    assert len(ended) == 2
    assert (loading._working, loading._loader, loading._waiting, loading._depth) == ({}, 0, 0, 0)
